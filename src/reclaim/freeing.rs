//! Freeing what was taken out: a thread's own, and a slice of what others left.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collector::Taken;
use super::{Domain, Pins, DUE, FREES, FULL, LAST};
use crate::error::Error;
use crate::runtime::platform;
use crate::sync::ThreadLocal;
use crate::time::Deadline;

/// For how long a caller frees what others left.
const SLICE: Duration = Duration::from_micros(250);

/// Who finds so much left by threads gives way to those that may be pinned, so often.
const SOME: usize = 1 << 20;
const WAYS: usize = 4;

/// Calls between looks whether a reader let go of what others left.
const PATIENCE: u32 = 32;

/// A thread is started for wholes of so many bytes.
const LARGE: usize = 1 << 20;

/// What starting threads needs at most: their stacks, and what tokio has.
const NEEDED: usize = 16 << 20;

/// How often all is tried in the end.
const ATTEMPTS: usize = 64;

/// The longest nap of a writer that waits for readers, and of a thread of the runtime.
const NAP: Duration = Duration::from_millis(1);
const LONG_NAP: Duration = Duration::from_millis(50);

/// So often the runtime's thread looks for readers that let go before it leaves.
const LOOKS: u32 = 50;

/// What somebody frees. It is given back whatever happens, but for a destructor of the user's that
/// forked: it leaves by unwinding, and must not take the parent's lock.
struct Freeing {
    domain: &'static Domain,
    taken: Option<Taken>,
}

impl Drop for Freeing {
    fn drop(&mut self) {
        let taken = self.taken.take();
        if self.domain.base.is_current() {
            taken
                .into_iter()
                .for_each(|it| self.domain.collector.give_back(it));
        }
    }
}

/// Frees a slice of what threads left; `None` if nothing can be freed now, else whether all was
/// freed that was found.
fn free_left(domain: &'static Domain, until: Option<Instant>) -> Option<bool> {
    let taken = Pins::own(|pins| {
        let is_unpinned = pins.depth() == 0 && pins.is_of_this_process();
        let own = pins.participant().filter(|_| is_unpinned);
        domain.collector.take_left(own)
    });
    let taken = Some(taken?);
    let mut freeing = Freeing { domain, taken };
    let is_enough = || until.is_some_and(|until| Instant::now() >= until);
    freeing.taken.as_mut().map(|taken| taken.free(is_enough))
}

/// Frees until nothing is left that can be freed now, or time is up.
fn free_until(domain: &'static Domain, until: Option<Instant>) {
    while free_left(domain, until) == Some(true) {}
}

fn a_slice() -> Option<Instant> {
    Some(Instant::now() + SLICE)
}

/// Says that the calling thread frees something: what that runs may come to `tidy`.
struct Frees<'p>(&'p Pins);

impl Drop for Frees<'_> {
    fn drop(&mut self) {
        self.0.clear(FREES);
    }
}

/// Frees what the calling thread has taken out, once it is enough, and some of what others left.
/// Called where the thread is not pinned and holds no turn: what is freed may be anything.
#[inline]
pub(crate) fn tidy() {
    Pins::own(|pins| {
        let is_crowded = || pins.collector().is_some_and(|it| it.is_crowded());
        if pins.depth() == 0 && (pins.has(DUE | FULL) || is_crowded()) {
            tidy_now(pins);
        }
    });
}

#[cold]
fn tidy_now(pins: &Pins) {
    if platform::is_ending() || pins.has(FREES) {
        return;
    }
    pins.leave_parent();
    let Some(domain) = pins.domain() else {
        return;
    };
    let patience = pins.patience.get();
    if !pins.has(DUE | FULL) && patience > 0 {
        pins.patience.set(patience - 1);
        return;
    }
    let is_last = pins.clear(LAST);
    pins.set(FREES);
    let frees = Frees(pins);
    let keeps = !is_last && !pins.has(FULL) && pins.has_allowance(&domain.collector);
    if pins.clear(DUE) && !keeps {
        free_own(pins, domain);
    }
    if is_last {
        free_all(domain);
    } else if wants_help(domain) {
        free_until(domain, a_slice());
        give_way(domain);
    }
    drop(frees);
    if !domain.base.is_current() {
        return;
    }
    if domain.collector.has_room() {
        pins.clear(FULL);
    } else {
        pins.set(FULL);
    }
    if domain.collector.is_crowded() {
        pins.patience.set(PATIENCE);
        have_swept(domain);
    }
}

/// A thread of the runtime is faster if nobody is in its way.
fn wants_help(domain: &'static Domain) -> bool {
    let is_swept = domain.is_swept.load(Ordering::Relaxed);
    domain.collector.is_crowded() && (!is_swept || domain.collector.left_bytes() > SOME)
}

/// Whether there was anything that could be freed.
fn free_own(pins: &Pins, domain: &'static Domain) -> bool {
    let Some(participant) = pins.participant() else {
        return false;
    };
    let is_much = pins.end_allowance(&domain.collector);
    // SAFETY: the thread's own, which is not pinned.
    let taken = unsafe { domain.collector.take_own(participant, &pins.period) };
    let has_taken = taken.is_some();
    if let Some(mut taken) = taken {
        if is_much {
            participant.step_aside(); // others free too, and need not wait for its next pin
        }
        taken.free(|| false);
    }
    has_taken
}

/// A thread that does not run may be pinned all the while: where many wait for a processor, that is
/// what holds most up. So who left more than a little lets them run.
fn give_way(domain: &'static Domain) {
    for _ in 0..WAYS {
        if domain.collector.left_bytes() <= SOME {
            return;
        }
        std::thread::yield_now();
        free_until(domain, a_slice());
    }
}

/// Each step needs every pinned thread to have let go.
fn free_all(domain: &'static Domain) {
    for attempt in 0..ATTEMPTS {
        free_until(domain, None);
        if domain.collector.is_empty() {
            return;
        }
        if attempt > 3 {
            std::thread::yield_now();
        }
    }
}

/// Whether a writer may take something out now. What only releases need not ask.
#[inline]
pub(crate) fn has_room() -> bool {
    Pins::own(|pins| pins.collector().is_none_or(|it| it.has_room()))
}

/// Waits until a writer may take something out. Called where the thread is not pinned, and has not
/// taken the turn that it will write in.
#[cold]
pub(crate) fn wait_for_room(deadline: &Deadline) -> Result<(), Error> {
    // What it frees itself, or holds up, it must not wait for.
    if Pins::own(|pins| pins.has(FREES) || pins.depth() > 0) {
        return Ok(());
    }
    let mut nap = Duration::ZERO;
    while !has_room() {
        Pins::own(|pins| {
            pins.set(FULL);
            tidy();
        });
        if has_room() {
            break;
        }
        if deadline.has_passed() {
            return Err(Error::NoMemory);
        }
        let left = deadline.left().unwrap_or(NAP);
        std::thread::sleep(nap.min(left));
        nap = (nap + NAP / 16).min(NAP);
    }
    Ok(())
}

/// Frees something for a writer that found no memory, or waits for readers that hold some; `false`
/// if there is nothing to be freed, or time is up. Called as `wait_for_room` is.
#[cold]
pub(crate) fn free_for_writer(deadline: &Deadline) -> bool {
    Pins::own(|pins| {
        let Some(domain) = pins.domain().filter(|it| it.base.is_current()) else {
            return false;
        };
        if platform::is_ending() || pins.has(FREES) || pins.depth() > 0 {
            return false;
        }
        pins.set(FREES);
        let _frees = Frees(pins);
        if free_own(pins, domain) || free_left(domain, a_slice()).is_some() {
            return true;
        }
        if domain.collector.is_empty() || deadline.has_passed() {
            return false;
        }
        std::thread::sleep(NAP.min(deadline.left().unwrap_or(NAP)));
        true
    })
}

/// Has a thread of the runtime free what was left. One is started only for much.
fn have_swept(domain: &'static Domain) {
    let threads = domain.base.threads();
    if domain.is_swept.load(Ordering::Relaxed) || threads.is_shut_down() {
        return;
    }
    let is_large = domain.collector.whole_bytes() >= LARGE;
    let has_threads = threads.are_started() || (is_large && has_started(domain));
    if !has_threads {
        return;
    }
    if !domain.is_swept.swap(true, Ordering::AcqRel) {
        threads.spawn_blocking(sweep); // which needs no memory of its own
    }
}

/// Starts the threads, if there is memory for that: a thread that finds none ends the process.
fn has_started(domain: &'static Domain) -> bool {
    let mut spare: Vec<u8> = Vec::new();
    if spare.try_reserve_exact(NEEDED).is_err() {
        return false;
    }
    drop(spare);
    domain.base.threads().start().is_ok()
}

/// Frees what threads left, as long as there is any and readers let go of it.
fn sweep() {
    let domain = Domain::current();
    let mut looks = 0;
    let mut nap = NAP / 16;
    while looks < LOOKS && !domain.base.threads().is_shut_down() {
        match free_left(domain, a_slice()) {
            Some(_) => (looks, nap) = (0, NAP / 16),
            None if !domain.collector.is_crowded() => break,
            None => {
                std::thread::sleep(nap);
                (looks, nap) = (looks + 1, (nap * 2).min(LONG_NAP));
            }
        }
    }
    domain.is_swept.store(false, Ordering::SeqCst);
    // Who left something meanwhile saw that it is seen to.
    if domain.collector.is_crowded() && looks < LOOKS {
        have_swept(domain);
    }
}
