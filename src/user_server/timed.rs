//! What reaches a server at a time, or by the end of another: timers and monitors. And what is done
//! when the time is up: requests that nobody answered, and ends that take too long.
//!
//! # The argument
//!
//! A timer and a monitor have a place in the mailbox from their beginning, and are listed (`Timed`)
//! until they come, or are taken back: whoever takes one out of the list has its place, and either
//! uses it or gives it up. So each comes once, or not at all.
//!
//! All of them stand in the agenda of the process (`bucket::expiry`), which tells them on its own
//! thread: so what may run user code is handed to another. The end of the server takes all of them
//! out. One that is added while it ends finds the list closed, or is taken out by who added it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use super::{Content, Mail, Pending, UserServer, What};
use crate::bucket::Due;
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::{AnyServer, Ended, Monitor};
use crate::sync::lock;
use crate::time::Moment;

/// The longest delay, in milliseconds: 100 years.
const LONGEST: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// What a server waits for. Most wait for nothing, and have no lists.
#[derive(Default)]
pub(super) struct Timed {
    lists: Option<Box<Lists>>,
    is_closed: bool,
}

/// By their references.
#[derive(Default)]
struct Lists {
    timers: BTreeMap<u64, Arc<Timer>>,
    monitors: BTreeMap<u64, Weak<dyn AnyServer>>,
    kill: Option<(u64, Arc<Kill>)>,
}

impl Timed {
    fn lists(&mut self) -> &mut Lists {
        self.lists.get_or_insert_with(Box::default)
    }

    fn take_timer(&mut self, reference: u64) -> Option<Arc<Timer>> {
        self.lists.as_mut()?.timers.remove(&reference)
    }

    fn take_monitor(&mut self, reference: u64) -> Option<Weak<dyn AnyServer>> {
        self.lists.as_mut()?.monitors.remove(&reference)
    }

    fn has_monitor(&self, reference: u64) -> bool {
        let lists = self.lists.as_ref();
        lists.is_some_and(|lists| lists.monitors.contains_key(&reference))
    }

    fn has_kill(&self) -> bool {
        self.lists
            .as_ref()
            .is_some_and(|lists| lists.kill.is_some())
    }
}

/// A message that comes at a time.
struct Timer {
    server: Weak<UserServer>,
    reference: u64,
    at: u64,
    mail: Mutex<Option<Mail>>,
}

impl Due for Timer {
    fn due(self: Arc<Self>) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        let listed = lock(&server.state().timed).take_timer(self.reference);
        if let (Some(_), Some(mail)) = (listed, lock(&self.mail).take()) {
            server.post_kept(mail);
        }
    }
}

/// An end that takes too long.
struct Kill(Weak<UserServer>);

impl Due for Kill {
    fn due(self: Arc<Self>) {
        if let Some(server) = self.0.upgrade() {
            let threads = server.system().threads();
            let again = Arc::clone(&server);
            threads.spawn_blocking(move || again.kill_late());
        }
    }
}

/// A monitor of a server, by another.
struct Watching(Weak<UserServer>);

impl Monitor for Watching {
    fn down(&self, reference: u64, ended: &Arc<Ended>) {
        if let Some(server) = self.0.upgrade() {
            let listed = lock(&server.state().timed).take_monitor(reference);
            if listed.is_some() {
                server.post_kept(Mail::new(What::Down(reference, Arc::clone(ended))));
            }
        }
    }
}

impl Due for Pending {
    fn due(self: Arc<Self>) {
        self.expire();
    }
}

impl UserServer {
    /// Sends an info when the time has come.
    pub(crate) fn send_after(
        self: &Arc<Self>,
        delay_ms: u64,
        content: &Arc<Content>,
    ) -> Result<u64, Error> {
        if delay_ms > LONGEST {
            return Err(Error::InvalidArgument("a delay is at most 100 years"));
        }
        let reference = self.system().next_reference();
        self.keep_place()?;
        let mail = self.mail(content, What::Info(Arc::clone(content), reference));
        let mail = mail.inspect_err(|_| self.give_place())?;
        let at = Moment::now().after(delay_ms);
        let timer = Arc::new(Timer {
            server: Arc::downgrade(self),
            reference,
            at,
            mail: Mutex::new(Some(mail)),
        });
        {
            let mut timed = lock(&self.state().timed);
            if timed.is_closed {
                drop(timed);
                return Err(self.finish_end(Error::NoProcess));
            }
            timed.lists().timers.insert(reference, Arc::clone(&timer));
        }
        let around = self.state().spec.around;
        if let Err(refused) = around.add_due(at, Arc::clone(&timer) as _) {
            let listed = lock(&self.state().timed).take_timer(reference);
            if listed.is_some() {
                self.give_place();
            }
            return Err(refused);
        }
        // Either who ended the server has found it in the agenda, or this thread sees the end.
        if lock(&self.state().timed).is_closed {
            around.remove_due(at, &(timer as _));
        }
        Ok(reference)
    }

    /// Takes a timer back: what was left of its time, in milliseconds. `NotFound` if it has come.
    pub(crate) fn cancel_timer(self: &Arc<Self>, reference: u64) -> Result<u64, Error> {
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        let listed = lock(&self.state().timed).take_timer(reference);
        let timer = listed.ok_or(Error::NotFound)?;
        self.give_place();
        let at = timer.at;
        self.state().spec.around.remove_due(at, &(timer as _));
        let now = Moment::now();
        Ok(match now.is_past(at) {
            true => 0,
            false => now.until(at),
        })
    }

    /// Has this server told of the end of another.
    pub(crate) fn monitor_server(
        self: &Arc<Self>,
        target: &Arc<dyn AnyServer>,
    ) -> Result<u64, Error> {
        self.keep_place()?;
        let reference = self.system().next_reference();
        {
            let mut timed = lock(&self.state().timed);
            if timed.is_closed {
                drop(timed);
                return Err(self.finish_end(Error::NoProcess));
            }
            timed
                .lists()
                .monitors
                .insert(reference, Arc::downgrade(target));
        }
        let watching = Arc::new(Watching(Arc::downgrade(self)));
        if !target.monitor(reference, Arc::clone(&watching) as _) {
            Arc::clone(target).await_end(); // the DOWN must not be ahead of its end
            let exit = Arc::new(Exit::new(Reason::NoProc, ""));
            watching.down(reference, &Ended::new(exit, target.name()));
        } else if !lock(&self.state().timed).has_monitor(reference) {
            target.demonitor(reference); // it came already, or this server has ended
        }
        Ok(reference)
    }

    /// Takes a monitor back. With `flush` a DOWN that waits already goes too.
    pub(crate) fn demonitor_server(self: &Arc<Self>, reference: u64, flush: bool) {
        let listed = lock(&self.state().timed).take_monitor(reference);
        match listed {
            Some(target) => {
                self.give_place();
                if let Some(target) = target.upgrade() {
                    target.demonitor(reference);
                }
            }
            None if flush => {
                let is_it = |mail: &Mail| match &mail.what {
                    Some(What::Down(other, _)) => *other == reference,
                    _ => false,
                };
                drop(self.withdraw(is_it));
            }
            None => {}
        }
    }

    /// Kills the server when it has not ended in good order in time.
    pub(super) fn kill_later(self: &Arc<Self>) {
        let longest = self.state().options().shutdown;
        let wait = u64::try_from(longest.as_millis()).unwrap_or(LONGEST);
        let at = Moment::now().after(wait.min(LONGEST));
        let kill = Arc::new(Kill(Arc::downgrade(self)));
        {
            let mut timed = lock(&self.state().timed);
            if timed.is_closed || timed.has_kill() {
                return;
            }
            timed.lists().kill = Some((at, Arc::clone(&kill)));
        }
        let around = self.state().spec.around;
        // Where there are no threads nothing ends it but its handler.
        let _ = around.add_due(at, Arc::clone(&kill) as _);
        if lock(&self.state().timed).is_closed {
            around.remove_due(at, &(kill as _));
        }
    }

    fn kill_late(self: &Arc<Self>) {
        self.end(Exit::new(Reason::Killed, "it did not end in time"));
    }

    /// The server has ended: nothing reaches it any more. May be called again.
    pub(super) fn forget_timed(self: &Arc<Self>) {
        let taken = {
            let mut timed = lock(&self.state().timed);
            timed.is_closed = true;
            timed.lists.take()
        };
        let Some(taken) = taken else {
            return;
        };
        let around = self.state().spec.around;
        for timer in taken.timers.into_values() {
            let at = timer.at;
            around.remove_due(at, &(timer as _));
        }
        if let Some((at, kill)) = taken.kill {
            around.remove_due(at, &(kill as _));
        }
        for (reference, target) in taken.monitors {
            if let Some(target) = target.upgrade() {
                target.demonitor(reference);
            }
        }
    }
}
