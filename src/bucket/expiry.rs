//! The sweeper: one alarm of the process, and an agenda of the buckets that have keys whose time
//! will come, and of what else is due at some time.
//!
//! # The argument
//!
//! A bucket stands in the agenda at most once, at the time that its `armed` says; both change
//! together, under the agenda's lock, under which the alarm is set too: for the first of them, or
//! for nothing. So no time is forgotten, and nobody is woken for none. The lock is a leaf: whoever
//! has it waits for nothing, and drops no bucket.
//!
//! When the alarm rings, each bucket whose time has come leaves the agenda (`SWEEPING`), and a
//! worker sweeps it: with the turn if nobody has it, or else by a message that the bucket handles
//! when its turn comes, which counts neither for the limit of the mailbox nor as handled. A sweep is
//! made of slices, between which the turn is given back; the last puts the bucket into the agenda
//! again (`rest`). What cannot be done for want of memory is tried again.
//!
//! What else is due ([`Due`]) stands in the same agenda by its time and its address, and has a
//! count there until it is told, on the thread that has the alarm, or taken out. Both are done
//! once, by who takes it out of the agenda.
//!
//! **Who is told.** A change that noted a key for an earlier time than `armed` sees to the agenda
//! before it gives the right to write back (`see_to`, from `State::settle`). The threads, and the
//! alarm, are started by the first of them; if the system refuses them, nothing is armed, and the
//! next change that gives a key a time to live tries again: it finds that nobody will look.
//!
//! **The end.** The agenda knows buckets weakly; one that ends is taken out of it, for even its
//! memory would wait for its time. A forked child has an agenda of its own. `shutdown` ends the
//! threads, and with them the task that has the alarm.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{BucketServer, BucketState, Message};
use crate::error::Error;
use crate::memory;
use crate::runtime::Alarm;
use crate::server::{System, Writing};
use crate::store::{SWEEPING, UNARMED};
use crate::sync::{lock, Arc, Mutex, Weak};
use crate::time::Moment;

/// So many keys are looked at before others have their turn: about a tenth of a millisecond.
const SLICE: usize = 512;

/// Milliseconds until something is tried again that found no memory.
const AGAIN: u64 = 100;

/// See the module.
#[derive(Default)]
pub(crate) struct Expiry {
    agenda: Mutex<Agenda>,
}

#[derive(Default)]
struct Agenda {
    /// By their time, and their address.
    entries: BTreeMap<(u64, usize), Entry>,
    /// Of the task that serves it.
    alarm: Weak<Alarm>,
    /// What it is set for.
    set_for: Option<u64>,
}

/// What is due at some time.
pub(crate) trait Due: Send + Sync {
    /// Its time has come. It waits for nothing, and runs no user code.
    fn due(self: Arc<Self>);
}

enum Entry {
    Bucket(Weak<BucketServer>),
    Other(Arc<dyn Due>),
}

/// Whose time has come.
enum Come {
    Bucket(Arc<BucketServer>),
    Other(Arc<dyn Due>),
}

fn address_of(due: &Arc<dyn Due>) -> usize {
    Arc::as_ptr(due).cast::<()>().addr()
}

fn address(state: &BucketState) -> usize {
    std::ptr::from_ref(state).addr()
}

impl Agenda {
    /// Moves a bucket.
    fn arm(&mut self, server: &Arc<BucketServer>, at: u64) {
        let (times, address) = (&server.state().contents.times, address(server.state()));
        self.entries.remove(&(times.armed(), address));
        times.set_armed(at);
        if at != UNARMED && at != SWEEPING {
            let bucket = Entry::Bucket(Arc::downgrade(server));
            self.entries.insert((at, address), bucket);
        }
    }

    /// Sets the alarm for the first.
    fn set_alarm(&mut self) {
        let first = self.entries.keys().next().map(|(at, _)| *at);
        if first == self.set_for {
            return;
        }
        self.set_for = first;
        if let Some(alarm) = self.alarm.upgrade() {
            // Not a part of a millisecond too early: then it would ring for nothing.
            let left = first.map(|at| at.saturating_sub(Moment::now().ms()));
            alarm.set(left.map(Duration::from_millis));
        }
    }
}

impl Expiry {
    /// Starts what is needed; refused if the system refuses it.
    fn start(&'static self, system: &'static System) -> Result<(), Error> {
        let tokio = system.threads().tokio()?;
        let mut agenda = lock(&self.agenda);
        if agenda.alarm.strong_count() == 0 {
            let alarm = Arc::new(Alarm::new());
            agenda.alarm = Arc::downgrade(&alarm);
            agenda.set_for = None;
            tokio.spawn(alarm.serve(move || self.ring(system)));
        }
        Ok(())
    }

    /// Has it told when its time has come; refused if the system refuses the threads for that.
    pub(crate) fn add(
        &'static self,
        system: &'static System,
        at: u64,
        due: Arc<dyn Due>,
    ) -> Result<(), Error> {
        self.start(system)?;
        let mut agenda = lock(&self.agenda);
        let address = address_of(&due);
        agenda.entries.insert((at, address), Entry::Other(due));
        agenda.set_alarm();
        Ok(())
    }

    /// Takes it out, if it was not told yet.
    pub(crate) fn remove(&self, at: u64, due: &Arc<dyn Due>) {
        let mut agenda = lock(&self.agenda);
        let removed = agenda.entries.remove(&(at, address_of(due)));
        if removed.is_some() {
            agenda.set_alarm();
        }
        drop(agenda);
        drop(removed); // outside the lock
    }

    /// Sees to it that the bucket is swept when it is to be. The caller has the right to write.
    pub(super) fn see_to(&'static self, server: &Arc<BucketServer>) {
        let times = &server.state().contents.times;
        let Some(due) = times.wants_alarm() else {
            return;
        };
        if self.start(server.system()).is_err() || !memory::is_ready() {
            return; // the next who gives a key a time to live tries again
        }
        let mut agenda = lock(&self.agenda);
        if times.armed() != SWEEPING && due < times.armed() {
            agenda.arm(server, due);
            agenda.set_alarm();
        }
    }

    /// The sweep has come to its end for now. The caller has the right to write.
    fn rest(&'static self, server: &Arc<BucketServer>) {
        let mut agenda = lock(&self.agenda);
        agenda.arm(server, UNARMED);
        let due = server.state().contents.times.wants_alarm();
        agenda.arm(server, due.unwrap_or(UNARMED));
        agenda.set_alarm();
    }

    /// A sweep could not go on: it is begun again later.
    fn try_later(&self, server: &Arc<BucketServer>) {
        let mut agenda = lock(&self.agenda);
        agenda.arm(server, Moment::now().after(AGAIN));
        agenda.set_alarm();
    }

    /// The clock is past the time for which the alarm was set, as somebody has noticed.
    pub(super) fn hurry(&self) {
        let mut agenda = lock(&self.agenda);
        if let Some(alarm) = agenda.alarm.upgrade() {
            agenda.set_for = None; // to be set anew when it has rung
            alarm.set(Some(Duration::ZERO));
        }
    }

    /// The bucket ends.
    pub(super) fn forget(&self, state: &BucketState) {
        let times = &state.contents.times;
        let mut agenda = lock(&self.agenda);
        let known = agenda.entries.remove(&(times.armed(), address(state)));
        times.set_armed(UNARMED);
        agenda.set_alarm();
        drop(agenda);
        drop(known);
    }

    fn ring(&'static self, system: &'static System) {
        let now = Moment::now();
        while let Some(come) = self.take_due(now) {
            match come {
                Come::Bucket(server) => system.threads().spawn(move || sweep(&server)),
                Come::Other(due) => due.due(),
            }
        }
    }

    /// The next whose time has come; if there is none the alarm is set for the next.
    fn take_due(&self, now: Moment) -> Option<Come> {
        let mut agenda = lock(&self.agenda);
        agenda.set_for = None; // it has rung
        while let Some((&(at, _), _)) = agenda.entries.first_key_value() {
            if !now.is_past(at) {
                break;
            }
            let (_, entry) = agenda.entries.pop_first()?;
            let bucket = match entry {
                Entry::Other(due) => return Some(Come::Other(due)),
                Entry::Bucket(bucket) => bucket,
            };
            if let Some(server) = bucket.upgrade() {
                server.state().contents.times.set_armed(SWEEPING);
                return Some(Come::Bucket(server));
            }
        }
        agenda.set_alarm();
        None
    }
}

/// A piece of work for a worker.
fn sweep(server: &Arc<BucketServer>) {
    match server.run_errand(sweep_slice) {
        Some(true) => sweep_on(server),
        Some(false) => {}
        None => {
            // Somebody has the turn: the sweep is to have it after him.
            if let Err(Error::NoMemory) = server.post_errand(Message::Sweep) {
                server.expiry().try_later(server);
            }
        }
    }
}

fn sweep_on(server: &Arc<BucketServer>) {
    let next = Arc::clone(server);
    server.system().threads().spawn(move || sweep(&next));
}

/// The message of a sweep that had to wait.
pub(super) fn handle(server: &Arc<BucketServer>, write: &Writing<'_, BucketState>) {
    if sweep_slice(server, write) {
        sweep_on(server);
    }
}

/// One slice, with the turn; whether there is to be another one at once.
fn sweep_slice(server: &Arc<BucketServer>, write: &Writing<'_, BucketState>) -> bool {
    let swept = write.exclusive().sweep(Moment::now(), false, SLICE);
    if swept.has_failed {
        server.expiry().try_later(server);
        return false;
    }
    if !swept.is_more {
        server.expiry().rest(server);
    }
    swept.is_more
}

impl BucketServer {
    fn expiry(&self) -> &'static Expiry {
        &self.state().spec.around.buckets.expiry
    }

    /// Before the right to write is given back.
    #[inline(always)]
    pub(super) fn settle_times(self: &Arc<Self>) {
        let times = &self.state().contents.times;
        if times.wants_alarm().is_some() {
            self.expiry().see_to(self);
        } else if times.is_armed_for_nothing() {
            self.expiry().forget(self.state());
        }
        if times.take_late() {
            self.expiry().hurry();
        }
    }
}

impl Drop for BucketState {
    fn drop(&mut self) {
        let around = self.spec.around;
        let armed = self.contents.times.armed();
        // In a forked child the agenda is the parent's.
        if armed != UNARMED && armed != SWEEPING && around.system.is_current() {
            around.buckets.expiry.forget(self);
        }
    }
}
