//! Turns of a server that has no callbacks: who has one takes the messages out, and says what
//! becomes of each.
//!
//! # The argument
//!
//! The turn is `TURN` of the heart, held beyond the call that took it, and counted by its thread.
//! One thread at a time has the [`UserTurn`] (the boundary sees to that). A message is answered
//! before the next one is taken out; what was not answered by then is kept, but for a call, whose
//! caller waits.

use std::ptr;
use std::sync::Arc;

use super::{Answer, Pending, Said, UserServer, What};
use crate::error::Error;
use crate::inbox::InboxCore;
use crate::reason::{Exit, Reason};
use crate::server::{Caller, Lasts, Next, OpenTurn, StillInside, Turn};
use crate::sync::lock;
use crate::time::{Deadline, Timeout};

use super::UserServerState;

/// `TURN`, until this is dropped.
pub(crate) struct Given(OpenTurn<UserServerState>);

impl Drop for Given {
    #[inline(always)]
    fn drop(&mut self) {
        // A server that nobody can reach any more has roused this thread.
        if let Some(server) = self.0.give_back() {
            end_unreachable(&server);
        }
    }
}

#[cold]
fn end_unreachable(server: &Arc<UserServer>) {
    if server.system().is_current() && server.is_unreachable() && !server.has_ended() {
        server.end(Exit::new(Reason::Normal, ""));
    }
}

/// A turn that was taken out of where it lay.
pub(crate) enum Taken {
    /// There is nothing to do but to give it back.
    Plain(Given),
    Whole(UserTurn),
}

/// See the module.
pub(crate) struct UserTurn {
    open: Given,
    /// Messages numbered below came before it.
    limit: u64,
    /// Up to when these are handled.
    deadline: Deadline,
    /// Of who began it.
    timeout: Timeout,
    /// It was given with the server: who ends it says whether that has begun.
    is_first: bool,
    current: Option<Current>,
}

/// A message that was taken out and is not answered yet.
struct Current {
    what: Arc<What>,
    number: u64,
    /// Somebody has what answers it.
    is_deferred: bool,
    /// By what the boundary knows it.
    mark: u64,
}

/// What was taken out.
pub(crate) struct Told {
    pub(crate) what: Arc<What>,
    pub(crate) mark: u64,
}

impl UserTurn {
    #[inline(always)]
    fn new(
        turn: Turn<UserServerState>,
        limit: u64,
        (timeout, deadline): (Timeout, Deadline),
        is_first: bool,
    ) -> UserTurn {
        turn.inside().server().note_turn();
        UserTurn {
            open: Given(turn.open()),
            limit: limit.max(1), // what comes before all that waits has the number 0
            deadline,
            timeout,
            is_first,
            current: None,
        }
    }

    /// Before which nothing came.
    #[inline(always)]
    pub(crate) fn begun_at_once(turn: Turn<UserServerState>, timeout: Timeout) -> UserTurn {
        let deadline = Timeout::Never.deadline();
        UserTurn::new(turn, 0, (timeout, deadline), false)
    }

    /// The first turn of a server that was just started.
    pub(crate) fn first(turn: Turn<UserServerState>) -> UserTurn {
        UserTurn::new(turn, 0, (Timeout::Never, Timeout::Never.deadline()), true)
    }

    pub(crate) fn server(&self) -> &Arc<UserServer> {
        self.open.0.inside().server()
    }

    pub(crate) fn detach(&self) {
        self.open.0.detach();
    }

    /// Takes it out of where it lies. Of one that has nothing more to do, the turn alone: to move all
    /// of it would take longer.
    #[inline(always)]
    pub(crate) fn take(place: &mut Option<UserTurn>) -> Option<Taken> {
        let turn = place.as_ref()?;
        if turn.is_first || turn.current.is_some() || !turn.open.0.inside().fast_keep() {
            return place.take().map(Taken::Whole);
        }
        // SAFETY: taken out once, for the place is overwritten; nothing else there is to be dropped.
        let given = unsafe { ptr::read(&turn.open) };
        // SAFETY: as above.
        unsafe { ptr::write(place, None) };
        Some(Taken::Plain(given))
    }

    /// The next message that came before it, or before all that waits.
    pub(crate) fn next(&mut self) -> Result<Told, Error> {
        self.check()?;
        self.keep_current();
        let server = Arc::clone(self.server());
        loop {
            if server.has_ended() {
                return Err(server.finish_end(Error::ServerDown));
            }
            if self.deadline.has_passed() && server.waiting_below(self.limit) > 0 {
                return Err(Error::Timeout);
            }
            let (mail, number) = match server.take_next(self.limit) {
                Next::Nothing => return Err(Error::NotFound),
                Next::Ended => continue,
                Next::Stop => {
                    self.stop(Exit::new(Reason::Normal, ""));
                    continue;
                }
                Next::Task(mail, number) => (mail, number),
            };
            let Some(what) = mail.take() else {
                continue;
            };
            match &what {
                What::Call(_, pending) => {
                    if !pending.begin() {
                        server.has_run(number);
                        continue;
                    }
                    if !server.state().owe(pending) {
                        pending.answer(Err(Error::ServerDown.into()));
                        continue;
                    }
                }
                What::Stop(pending) => {
                    server.has_run(number);
                    if pending.as_ref().is_none_or(|pending| pending.begin()) {
                        if let Some(pending) = pending {
                            // It is told when the server has ended, whyever.
                            lock(&server.state().last)
                                .push((Arc::clone(pending), Ok(crate::value::Value::Nil)));
                        }
                        self.stop(Exit::new(Reason::Normal, ""));
                    }
                    continue;
                }
                _ => {}
            }
            server.count_handled();
            let (what, mark) = (Arc::new(what), server.system().next_reference());
            self.current = Some(Current {
                what: Arc::clone(&what),
                number,
                is_deferred: false,
                mark,
            });
            return Ok(Told { what, mark });
        }
    }

    /// Whether the message that was taken out last is a call.
    pub(crate) fn is_of_call(&self) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| matches!(&*current.what, What::Call(..)))
    }

    /// Says what becomes of the message that was taken out last. `NotFound` if it was said.
    pub(crate) fn answer(&mut self, said: Said) -> Result<(), Error> {
        self.check()?;
        let Some(current) = self.current.take() else {
            return Err(Error::NotFound);
        };
        let is_bad = matches!(said, Said::Bad(_));
        self.conclude(&current, said);
        self.server().has_run(current.number);
        match is_bad {
            true => Err(Error::InvalidArgument("an unknown verdict")),
            false => Ok(()),
        }
    }

    /// The call that this mark stands for is answered later.
    pub(crate) fn defer(&mut self, mark: u64) -> Result<Arc<Pending>, Error> {
        self.check()?;
        match &mut self.current {
            Some(current) if current.mark == mark && !current.is_deferred => {
                let What::Call(_, pending) = &*current.what else {
                    return Err(Error::InvalidArgument("only a call is answered"));
                };
                current.is_deferred = true;
                Ok(Arc::clone(pending))
            }
            _ => Err(Error::InvalidArgument("the message was answered already")),
        }
    }

    /// The answer of the call that it was begun for comes into an inbox.
    pub(crate) fn defer_to_inbox(
        &self,
        inbox: &Arc<InboxCore>,
    ) -> Result<(Arc<Pending>, u64), Error> {
        self.check()?;
        let (pending, reference) = self.server().defer_to_inbox(inbox)?;
        self.server().expire_later(&pending, self.timeout);
        Ok((pending, reference))
    }

    fn check(&self) -> Result<(), Error> {
        match self.server().system().is_current() {
            true => Ok(()),
            false => Err(Error::Forked),
        }
    }

    /// What was not answered is kept; a call is not.
    fn keep_current(&mut self) {
        if let Some(current) = self.current.take() {
            let said = match &*current.what {
                What::Call(..) if current.is_deferred => Said::Later,
                What::Call(..) => Said::Bad("a call was not answered"),
                _ => super::handling::nothing(),
            };
            self.conclude(&current, said);
            self.server().has_run(current.number);
        }
    }

    fn conclude(&self, current: &Current, said: Said) {
        let server = self.server();
        match &*current.what {
            What::Init => match said {
                Said::Keep(_) => server.has_begun(),
                said => server.fail_again(said),
            },
            What::Terminate(exit) => server.end_as(exit, &said),
            What::Call(_, pending) => match said {
                Said::Stop(answer) => {
                    server.state().settle(pending);
                    let answer: Answer = answer.map_err(Into::into);
                    lock(&server.state().last).push((Arc::clone(pending), answer));
                    self.stop(Exit::new(Reason::Normal, ""));
                }
                Said::Later if !current.is_deferred => {
                    self.crash_call(pending, "KVREG_LATER of a call that was not deferred");
                }
                Said::Crash(_) | Said::Bad(_) => self.crash_call(pending, said.crash_detail()),
                said => server.conclude_call(pending, said),
            },
            what => match said {
                Said::Stop(_) => self.stop(Exit::new(Reason::Normal, "")),
                Said::Crash(_) | Said::Bad(_) => self.crash(&said),
                Said::Later => {
                    let text = "KVREG_LATER of a message that nobody waits for";
                    self.stop(Exit::new(Reason::Crashed, text));
                }
                said => server.conclude_plain(what, said),
            },
        }
    }

    fn crash_call(&self, pending: &Arc<Pending>, detail: &str) {
        let server = self.server();
        server.state().settle(pending);
        self.stop(Exit::new(Reason::Crashed, detail));
        pending.answer(Err(Error::ServerDown.into()));
    }

    fn crash(&self, said: &Said) {
        self.stop(Exit::new(Reason::Crashed, said.crash_detail()));
    }

    /// Ends the server: in good order, by who begins next or takes the next message, if it wants
    /// so.
    fn stop(&self, exit: Exit) {
        let server = self.server();
        if !server.begin_terminate(&exit) {
            server.end(exit);
        }
    }

    /// Gives the turn back, and says what becomes of the server.
    pub(crate) fn end(mut self, said: Said) -> Result<(), Error> {
        self.check()?;
        let (server, inside) = (Arc::clone(self.server()), StillInside::new());
        if self.is_first {
            return self.end_first(said, inside);
        }
        self.keep_current();
        let was_ended = server.has_ended();
        let is_bad = matches!(said, Said::Bad(_));
        match said {
            Said::Keep(_) | Said::Abort(_) => {}
            Said::Stop(_) if !was_ended => self.stop(Exit::new(Reason::Normal, "")),
            Said::Crash(_) | Said::Bad(_) if !was_ended => self.crash(&said),
            _ => {}
        }
        drop(inside);
        drop(self);
        if is_bad {
            return Err(Error::InvalidArgument("an unknown verdict"));
        }
        match was_ended {
            true => Err(server.finish_end(Error::ServerDown)),
            false => Ok(()),
        }
    }

    fn end_first(mut self, said: Said, inside: StillInside) -> Result<(), Error> {
        self.is_first = false;
        let server = Arc::clone(self.server());
        if server.has_ended() {
            drop(inside);
            drop(self);
            return Err(server.finish_end(Error::ServerDown));
        }
        let is_bad = matches!(said, Said::Bad(_));
        match said {
            Said::Keep(_) => server.has_begun(),
            Said::Stop(_) => {
                server.has_begun();
                self.stop(Exit::new(Reason::Normal, ""));
            }
            said => drop(server.fail_init(said)),
        }
        drop(inside);
        drop(self);
        match is_bad {
            true => Err(Error::InvalidArgument("an unknown verdict")),
            false => Ok(()),
        }
    }
}

impl UserServer {
    /// Takes the turn of a server without callbacks, and how many messages came before it. Blocks
    /// like a call; `now`: not at all.
    pub(crate) fn begin_turn(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        now: bool,
    ) -> Result<(UserTurn, usize), Error> {
        if !self.state().options().is_by_turns {
            let text = "a server by callbacks has no turns";
            return Err(Error::Unsupported(text));
        }
        let timeout = caller.timeout();
        if let Some(turn) = self.fast_begin_turn() {
            caller.unpin();
            return Ok((UserTurn::begun_at_once(turn, timeout), 0));
        }
        let (turn, limit) = match now {
            true => {
                caller.unpin();
                self.occupy_now(Lasts::Open)?
            }
            false => self.occupy_with_mail(caller, Lasts::Open)?,
        };
        self.count_handled();
        let waiting = self.waiting_below(limit.max(1));
        let deadline = self.turn_deadline(caller, now);
        let turn = UserTurn::new(turn, limit, (timeout, deadline), false);
        Ok((turn, waiting))
    }

    /// The turn for `begun_at_once`, if nobody is there and nothing waits.
    #[inline(always)]
    pub(crate) fn fast_begin_turn(self: &Arc<Self>) -> Option<Turn<UserServerState>> {
        if !self.state().options().is_by_turns {
            return None;
        }
        match self.state().front().is_some() {
            // SAFETY: by `set_front`.
            true => unsafe { self.fast_occupy_kept(Lasts::Open) },
            false => self.fast_occupy(Lasts::Open),
        }
    }

    /// Up to when messages are handled before the caller's own work. Who serves, and does not wait,
    /// has no work of his own that a timeout of 0 would be for.
    fn turn_deadline(&self, caller: &mut Caller<'_>, now: bool) -> Deadline {
        match (now, caller.timeout()) {
            (true, Timeout::Now) => Timeout::Never.deadline(),
            _ => caller.begin_blocking(),
        }
    }
}
