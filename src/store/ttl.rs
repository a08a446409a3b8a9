//! Times to live (G17): what a change gives a key, and how keys go whose time is over.
//!
//! A key is over when the clock has come to its deadline, swept or not. The writer takes such a key
//! for absent in all that he asks; a reader finds it over in the middle of its look
//! (`reading.rs`). It goes by a change of its own, in a sweep; or it is overwritten, and then there
//! never was another change.

use std::time::Duration;

use super::conditions::{Changed, Condition};
use super::contents::{Contents, Pair};
use super::key::Key;
use super::key_log::Kind;
use super::limits::Cost;
use super::reading::read;
use super::stored::{Life, Small, Stored, MIN_TAIL};
use super::writing::Gone;
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::table::{Entry, Found, Place};
use crate::time::{Clock, Moment};

/// The longest time to live: 100 years.
pub(crate) const TTL_LIMIT: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// The time to live that a change gives its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ttl {
    /// That of the bucket's keys, if they have one.
    Default,
    /// For ever.
    Never,
    /// What is left of the older one; a key that was absent gets that of the bucket's keys. Whether
    /// it was is asked of this moment, if it was looked at before.
    Keep(Option<Moment>),
    /// Milliseconds, 1 at least.
    Millis(u64),
}

/// A condition, with the time to live that the change gives.
#[derive(Clone, Copy)]
pub(crate) struct Living<C>(pub(crate) C, pub(crate) Ttl);

impl<C: Condition> Condition for Living<C> {
    #[inline(always)]
    fn allows(self, revision: Option<u64>) -> bool {
        self.0.allows(revision)
    }

    #[inline(always)]
    fn ttl(self) -> Ttl {
        self.1
    }

    fn expected(self) -> Option<u64> {
        self.0.expected()
    }
}

/// What a sweep did.
pub(crate) struct Swept {
    /// Keys that it took out.
    pub(crate) expired: usize,
    /// There is more to do now.
    pub(crate) is_more: bool,
    /// It found no memory to go on: to be tried again later.
    pub(crate) has_failed: bool,
}

/// So many keys a sweep looks at before a write that found no room asks again.
const SLICE: usize = 1024;
const SLICES: usize = 4;

/// Whether the time of an entry's key is over. The writer's.
#[inline(always)]
pub(super) fn is_over(found: &Found<'_, Stored>, clock: &Clock) -> bool {
    match found.value().life(found.tail()) {
        None => false,
        Some(life) => clock.now().is_past(life.deadline()),
    }
}

/// As `is_over`, at a moment; `None`: no key had a time to live then.
#[inline(always)]
pub(super) fn is_past(found: &Found<'_, Stored>, moment: Option<Moment>) -> bool {
    moment.is_some_and(|moment| life(found).is_some_and(|it| moment.is_past(it.deadline())))
}

/// The life of an entry's key. The writer's.
pub(super) fn life(found: &Found<'_, Stored>) -> Option<Life> {
    found.value().life(found.tail())
}

/// The key and the value of an entry that nobody changes, in one that has room for a life or has
/// none. A value that is shared is shared by both.
pub(super) fn rehoused(
    found: &Found<'_, Stored>,
    hash: u64,
    is_timed: bool,
) -> Result<Pair, Error> {
    if let Some(shared) = found.value().share(found.tail()) {
        let (stored, tail) = Stored::shared(found.value().is_string(), &shared);
        return Pair::of(found.key(), hash, stored, &tail, is_timed).inspect(|_| {
            let _ = shared.into_address(); // the count is the entry's now
        });
    }
    let value = read(found)?;
    let small = Small::of(value.as_ref()).ok_or(Error::NoMemory)?;
    let stored = Stored::small(&small, 0);
    Pair::of(found.key(), hash, stored, small.tail(), is_timed)
}

impl Pair {
    pub(super) fn of(
        key: &[u8],
        hash: u64,
        stored: Stored,
        tail: &[u8],
        is_timed: bool,
    ) -> Result<Pair, Error> {
        let mut words = tail.len().div_ceil(8).max(MIN_TAIL);
        let mut stored = stored;
        if is_timed {
            (words, stored) = (words + 1, stored.timed());
        }
        Entry::allocate_hashed(key, hash, stored, tail, words).map(Pair)
    }

    /// The pair with this life.
    pub(super) fn living(self, life: Option<Life>) -> Result<Pair, Error> {
        let is_timed = self.0.view().value().is_timed();
        let pair = match is_timed == life.is_some() {
            true => self,
            false => rehoused(&self.0.view(), self.0.hash(), life.is_some())?,
        };
        if let Some(life) = life {
            let view = pair.0.view();
            view.value().set_life(view.tail(), life);
        }
        Ok(pair)
    }
}

impl Contents {
    /// Whether keys that are stored without more get a time to live.
    pub(crate) fn has_default_ttl(&self) -> bool {
        self.times.default_ttl() != 0
    }
}

impl Exclusive<'_, Contents> {
    /// Whether a change with this gives a time to live to no key that has none.
    #[inline(always)]
    pub(super) fn gives_none(&self, ttl: Ttl) -> bool {
        match ttl {
            Ttl::Never => true,
            Ttl::Default | Ttl::Keep(_) => self.times.default_ttl() == 0,
            Ttl::Millis(_) => false,
        }
    }

    /// Until when a key is to live that has this life, if it is there.
    pub(super) fn deadline(
        &self,
        ttl: Ttl,
        old: Option<Option<Life>>,
        clock: &Clock,
    ) -> Option<u64> {
        let default = || match self.times.default_ttl() {
            0 => None,
            ttl => Some(clock.now().after(ttl)),
        };
        match ttl {
            Ttl::Never => None,
            Ttl::Default => default(),
            Ttl::Millis(ttl) => Some(clock.now().after(ttl)),
            Ttl::Keep(at) => match old {
                None => default(),
                Some(None) => None,
                Some(Some(life)) => {
                    let at = at.unwrap_or_else(|| clock.now());
                    match at.is_past(life.deadline()) {
                        true => default(),
                        false => Some(life.deadline()),
                    }
                }
            },
        }
    }

    /// The life that a change gives its key, which has this entry now.
    pub(super) fn new_life(
        &self,
        ttl: Ttl,
        old: Option<&Found<'_, Stored>>,
        hash: u64,
        clock: &Clock,
        pinned: &Guard,
    ) -> Result<Option<Life>, Error> {
        let old = old.map(life);
        let Some(deadline) = self.deadline(ttl, old, clock) else {
            return Ok(None);
        };
        self.life_until(deadline, old.flatten(), hash, clock.now(), pinned)
            .map(Some)
    }

    /// As `fast_put`, of a key that has a time to live or gets one.
    #[inline(never)]
    pub(super) fn fast_put_timed(
        &self,
        key: Key<'_>,
        value: Small<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Option<Changed> {
        let (clock, _held) = (Clock::new(), self.hold_times());
        let place = self.writer(pinned).fast_place(key.hash, &key)?;
        let found = match &place {
            Place::Taken(found) => Some(found),
            Place::Free(_) => None,
        };
        let there = found.filter(|found| !is_over(found, &clock));
        if !condition.allows(there.map(|found| found.value().revision())) {
            return Some(Changed::Conflict);
        }
        let deadline = self.deadline(condition.ttl(), found.map(life), &clock);
        let new_life = match deadline {
            None => None,
            Some(deadline) => {
                let (old, now) = (found.and_then(life), clock.now());
                if !self.times.is_armed_for(deadline, now) {
                    return None; // somebody is to be told
                }
                let life = self.life_until(deadline, old, key.hash, now, pinned);
                Some(life.ok()?)
            }
        };
        let value = value.living(new_life);
        match place {
            Place::Taken(found) => self.fast_overwrite(found, value, Some((key.hash, pinned))),
            Place::Free(place) => {
                let cost = Cost {
                    keys: 1,
                    bytes: key.len() + value.size(),
                };
                self.charge(Cost::default(), cost).ok()?;
                let revision = self.revisions.begin(1);
                let stored = Stored::small(&value, revision);
                let marks = self.enter(key.hash, pinned);
                let entry =
                    Entry::allocate_hashed(&key, key.hash, stored, value.tail(), value.words());
                let put = entry.and_then(|entry| {
                    if let Some(life) = new_life {
                        let view = entry.view();
                        view.value().set_life(view.tail(), life);
                    }
                    entry.set_marks(marks);
                    place.put(entry)
                });
                if put.is_err() {
                    self.revisions.abandon();
                    self.discharge(cost);
                    return None;
                }
                self.revisions.commit();
                self.note(Kind::Put, revision, &key, pinned);
                self.count_timed(false, new_life.is_some());
                Some(Changed::To(revision))
            }
        }
    }

    /// Gives a key another time to live, as a change of its own; answers the revision.
    pub(crate) fn expire(&self, key: Key<'_>, ttl: Ttl) -> Result<u64, Error> {
        let (clock, pinned) = (Clock::new(), reclaim::pin());
        let found = self.found(key, &clock, &pinned)?.ok_or(Error::NotFound)?;
        let new_life = self.new_life(ttl, Some(&found), key.hash, &clock, &pinned)?;
        let (was, is) = (found.value().is_timed(), new_life.is_some());
        let (stored, tail) = (found.value(), found.tail());
        if !stored.can_change_life(tail, new_life) {
            let pair = rehoused(&found, key.hash, is)?.living(new_life)?;
            let change = self.tell_stored(&pair);
            let revision = self.begin_over(&found, key.hash, &pinned);
            pair.0.view().value().set_revision(revision);
            pair.0.set_marks(found.marks());
            // In the place of the older one: it needs no room.
            let replaced = self.writer(&pinned).insert(pair.0);
            self.revisions.commit();
            self.note(Kind::Put, revision, &key, &pinned);
            let _ = replaced; // what it shares with the new one waits for nothing
            self.count_timed(was, is);
            self.tell(change);
            return Ok(revision);
        }
        let change = match self.observer() {
            Some(_) => self.tell_stored(&rehoused(&found, key.hash, false)?),
            None => None,
        };
        let revision = self.begin_over(&found, key.hash, &pinned);
        stored.change_life(tail, new_life, revision);
        self.revisions.commit();
        self.note(Kind::Put, revision, &key, &pinned);
        self.count_timed(was, is);
        self.tell(change);
        Ok(revision)
    }

    /// Takes out keys whose time is over, each as a change of its own, until it has looked at so
    /// many: those of ticks that are over, or of the present one too.
    pub(crate) fn sweep(&self, now: Moment, is_eager: bool, budget: usize) -> Swept {
        let mut swept = Swept {
            expired: 0,
            is_more: true,
            has_failed: false,
        };
        for _ in 0..budget {
            let Some(note) = self.take_due(now, is_eager) else {
                swept.is_more = false;
                break;
            };
            let pinned = reclaim::pin();
            let is_over = |found: &Found<'_, Stored>| {
                life(found).is_some_and(|life| now.is_past(life.deadline()))
            };
            // Of a table that may have shrunk since.
            while let Some(found) = self.writer(&pinned).hashed_like(note.hash).find(is_over) {
                self.expire_now(&found, &pinned);
                swept.expired += 1;
            }
            if let Some(life) = self.life_noted(note, &pinned) {
                if !self.note_again(note, life.deadline()) {
                    swept.has_failed = true;
                    break;
                }
            }
        }
        self.finish_sweep();
        swept
    }

    /// Takes out a key whose time is over.
    pub(super) fn expire_now(&self, found: &Found<'_, Stored>, pinned: &Guard) {
        let writer = self.writer(pinned);
        self.take_out(&writer, found, found.hash(), Gone::Expired, pinned);
        self.tell_deleted(found.key());
    }

    /// A change has found no room: takes out some keys whose time is over; `false` if there are
    /// none, or it would take long to find one: then the sweeper will.
    #[cold]
    pub(super) fn sweep_for_room(&self) -> bool {
        if self.timed() == 0 {
            return false;
        }
        let now = Moment::now();
        for _ in 0..SLICES {
            let swept = self.sweep(now, true, SLICE);
            if swept.expired > 0 {
                return true;
            }
            if !swept.is_more || swept.has_failed {
                break;
            }
        }
        false
    }
}
