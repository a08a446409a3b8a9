//! Contents that a store keeps (`engine.rs`): how they are changed, and read when they begin.
//!
//! # The argument
//!
//! Who has the turn makes a change in three steps. `prepare`, with the right to write, does all that
//! may be refused, and answers what is to be stored. Then it is stored, without that right: readers,
//! snapshots and the end of the bucket wait for none of it. `publish`, with the right to write again,
//! makes the change seen. Nobody else changes anything between the two: that takes the turn, and the
//! short ways, which take no more than a swap, are closed (`BACKED`). The end of the bucket takes no
//! turn: after it `publish` is not called, and the change is stored and was not seen.
//!
//! What goes by itself, since its time is over or to make room, goes at once, and is noted; the next
//! change that is stored takes these keys out of the store too. A crash before that leaves them
//! there: a key whose time is over is not read again, and one that was taken out to make room comes
//! back with the value that it had.

use super::apply::{is_limit, Prepared};
use super::contents::{Contents, Pair};
use super::engine::Written;
use super::key::Key;
use super::plan::{Plan, Refused, What};
use super::reading::read;
use super::ttl::{life, Ttl, TTL_LIMIT};
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::{lock, Mutex};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// So many keys are noted at most: more come back, as after a crash.
const NOTED: usize = 1 << 16;

/// Keys that went by themselves, and are in the store yet.
pub(crate) struct Gone(Mutex<Vec<Box<[u8]>>>);

impl Gone {
    pub(super) fn note(&self, key: &[u8]) {
        let mut keys = lock(&self.0);
        if keys.len() >= NOTED || memory::without_reserve(|| keys.try_reserve(1)).is_err() {
            return;
        }
        if let Some(key) = memory::bytes(key) {
            keys.push(key);
        }
    }
}

impl Default for Gone {
    fn default() -> Gone {
        Gone(Mutex::new(Vec::new()))
    }
}

/// An entry as a store tells it.
#[derive(Clone, Copy)]
pub(crate) struct Loaded<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: ValueRef<'a>,
    pub(crate) revision: u64,
    /// When the key goes, in milliseconds since 1970.
    pub(crate) expires: Option<i64>,
}

/// What a key is given that goes at `expires`, at this time of the wall clock; `None`: it has gone.
fn ttl_until(expires: Option<i64>, now: i64) -> Option<Ttl> {
    match expires {
        None => Some(Ttl::Never),
        Some(expires) if expires <= now => None,
        Some(expires) => {
            let longest = TTL_LIMIT.as_millis() as u64;
            Some(Ttl::Millis(expires.abs_diff(now).min(longest)))
        }
    }
}

impl Contents {
    /// The keys that went by themselves since the last time: no longer noted.
    pub(crate) fn take_gone(&self) -> Vec<Box<[u8]>> {
        let gone = self.gone.as_ref();
        gone.map_or_else(Vec::new, |gone| std::mem::take(&mut *lock(&gone.0)))
    }

    /// They are in the store yet.
    pub(crate) fn note_gone_again(&self, keys: Vec<Box<[u8]>>) {
        if let Some(gone) = &self.gone {
            let mut noted = lock(&gone.0);
            if noted.is_empty() {
                *noted = keys;
            }
        }
    }
}

impl Exclusive<'_, Contents> {
    /// Does all that can be refused of changes that are made as one. Answers the revision that the
    /// first of them will have; the others follow it.
    pub(crate) fn prepare(&self, plan: &mut Plan<'_>) -> Result<(Prepared, u64), Refused> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let clock = Clock::new();
        let _noting = self.note_many(plan.ops.len(), &pinned);
        loop {
            let net = plan.check(&writer, &clock)?;
            match self.prepare_entries(plan, net, &writer, &clock, &pinned) {
                Err(refused) if is_limit(&refused) && self.sweep_for_room() => {}
                Err(refused) => return Err(refused),
                Ok(prepared) => {
                    let first = self.revisions.next(plan.ops.len() as u64);
                    return Ok((prepared, first));
                }
            }
        }
    }

    /// The value of a key now.
    pub(crate) fn look_up(&self, key: Key<'_>) -> Result<Option<Value>, Error> {
        let (pinned, clock) = (reclaim::pin(), Clock::new());
        let found = self.found(key, &clock, &pinned)?;
        found.as_ref().map(read).transpose()
    }

    /// Whether changes would be refused but for the limits.
    pub(crate) fn check_plan(&self, plan: &mut Plan<'_>) -> Result<(), Refused> {
        let pinned = reclaim::pin();
        plan.check(&self.writer(&pinned), &Clock::new()).map(|_| ())
    }

    /// Makes the changes seen. Refused for want of memory in contents that are read in order: then
    /// they are stored, and cannot be seen.
    pub(crate) fn publish(&self, plan: &mut Plan<'_>, prepared: Prepared) -> Result<u64, Error> {
        let (pinned, _held) = (reclaim::pin(), self.hold_times());
        let writer = self.writer(&pinned);
        if let Err(refused) = writer.list(plan.left()) {
            self.give_up(prepared);
            return Err(refused);
        }
        Ok(self.publish_entries(plan, prepared, &writer, &pinned))
    }

    /// The revision that a change has which clears them, before `clear`.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revisions.next(1)
    }

    /// Takes an entry over from the store, at this time of the wall clock. Nobody reads yet.
    pub(crate) fn load(&self, loaded: &Loaded<'_>, now: i64) -> Result<(), Error> {
        let (pinned, clock) = (reclaim::pin(), Clock::new());
        let Some(ttl) = ttl_until(loaded.expires, now) else {
            if let Some(gone) = &self.gone {
                gone.note(loaded.key);
            }
            return Ok(());
        };
        let key = Key::new(loaded.key);
        let _held = self.hold_times();
        let new_life = self.new_life(ttl, None, key.hash, &clock, &pinned)?;
        let pair = Pair::with_room(key, loaded.value, new_life.is_some())?.living(new_life)?;
        let writer = self.writer(&pinned);
        let cost = pair.cost();
        self.charge(Default::default(), cost)?;
        pair.0.view().value().set_revision(loaded.revision);
        pair.0.set_marks(self.marks_of(None, key.hash, &pinned));
        match writer.insert(pair.0) {
            Ok(None) => {
                self.count_timed(false, new_life.is_some());
                Ok(())
            }
            Ok(Some(_)) => Err(Error::Io {
                what: "a store that has a key twice",
                code: None,
            }),
            Err(refused) => {
                self.uncharge(Default::default(), cost);
                Err(refused)
            }
        }
    }

    /// All is taken over, up to the last revision that was used.
    pub(crate) fn loaded(&self, last: u64) {
        self.revisions.go_on_behind(last);
    }
}

impl Plan<'_> {
    /// Calls `each` for what is to be stored of changes that are prepared, of which the first has this
    /// revision, at this time of the wall clock.
    pub(crate) fn written<'p>(&'p self, first: u64, now: i64, mut each: impl FnMut(Written<'p>)) {
        let clock = Clock::new();
        for ((op, step), revision) in self.ops.iter().zip(&self.steps).zip(first..) {
            let Some(entry) = step.entry.as_ref().filter(|_| step.leaves) else {
                continue;
            };
            let key = &*op.key;
            let value = match op.what {
                What::Put(value) => value,
                What::Add(_) => ValueRef::Int(step.sum),
                What::Delete => {
                    each(Written::Delete { key, revision });
                    continue;
                }
            };
            let expires = life(&entry.view()).map(|life| {
                // Not a part of a millisecond longer than it was given.
                let left = clock.now().until(life.deadline());
                now.saturating_add(left as i64)
            });
            each(Written::Put {
                key,
                value,
                revision,
                expires,
            });
        }
    }

    /// What the number of a change comes to that adds.
    pub(crate) fn sum(&self, at: usize) -> Option<i64> {
        let adds = matches!(self.ops.get(at)?.what, What::Add(_));
        self.steps.get(at).filter(|_| adds).map(|step| step.sum)
    }
}
