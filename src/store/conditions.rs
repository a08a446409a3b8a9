//! What a change asks of its key before it is made (G16): compared and changed in one step, by the
//! one thread that may change the bucket.

use super::contents::{Contents, Pair};
use super::key::Key;
use super::reading::{read, size};
use super::stored::{Small, Stored};
use super::ttl::{is_over, life, Living, Ttl};
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::table::{Closed, Found, Place};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// What is asked of a key.
pub(crate) trait Condition: Copy {
    /// Whether the change may be made: of a key whose last change has this revision, or of one that
    /// is absent.
    fn allows(self, revision: Option<u64>) -> bool;

    /// The time to live that the change gives.
    #[inline(always)]
    fn ttl(self) -> Ttl {
        Ttl::Default
    }

    /// The revision that the key must have, 0 if it must be absent; `None`: whatever it has.
    fn expected(self) -> Option<u64> {
        None
    }
}

/// Nothing is asked.
#[derive(Clone, Copy)]
pub(crate) struct Always;

impl Condition for Always {
    #[inline(always)]
    fn allows(self, _revision: Option<u64>) -> bool {
        true
    }
}

/// The key's last change has this revision; 0: it is absent.
#[derive(Clone, Copy)]
pub(crate) struct Expected(pub(crate) u64);

impl Condition for Expected {
    #[inline(always)]
    fn allows(self, revision: Option<u64>) -> bool {
        revision.unwrap_or(0) == self.0
    }

    fn expected(self) -> Option<u64> {
        Some(self.0)
    }
}

/// What became of a short change.
#[derive(Clone, Copy)]
pub(crate) enum Changed {
    /// It has this revision.
    To(u64),
    Conflict,
}

impl From<Changed> for Result<u64, Error> {
    fn from(changed: Changed) -> Result<u64, Error> {
        match changed {
            Changed::To(revision) => Ok(revision),
            Changed::Conflict => Err(Error::Conflict),
        }
    }
}

/// Why a number was not added to.
enum NotAdded {
    /// By the short way: the key is absent, or has no room for a number, or others are to be told.
    Long,
    Error(Error),
}

impl Exclusive<'_, Contents> {
    /// Adds to a number in its place, by the short way: `None` if that is not possible. Does not
    /// panic.
    #[inline(always)]
    pub(crate) fn fast_add(&self, key: Key<'_>, delta: i64, pinned: &Guard) -> Option<i64> {
        self.add_in_place(key, delta, pinned).ok()
    }

    #[inline(always)]
    fn add_in_place(&self, key: Key<'_>, delta: i64, pinned: &Guard) -> Result<i64, NotAdded> {
        if self.is_observed() {
            return Err(NotAdded::Long);
        }
        let Some(Place::Taken(found)) = self.writer(pinned).fast_place(key.hash, &key) else {
            return Err(NotAdded::Long);
        };
        let Some((alike, number)) = found.value().plain_int(found.tail()) else {
            return self.add_otherwise(key, found, delta, pinned);
        };
        let sum = added(Some(number), delta).map_err(NotAdded::Error)?;
        let value = Small::int(sum);
        let changed = self.overwrite_alike(&found, alike, &value, Some(pinned));
        changed.map(|_| sum).ok_or(NotAdded::Long)
    }

    /// As `add_in_place`, of a key that has a time to live, or no number.
    #[inline(never)]
    fn add_otherwise(
        &self,
        key: Key<'_>,
        found: Found<'_, Stored>,
        delta: i64,
        pinned: &Guard,
    ) -> Result<i64, NotAdded> {
        if is_over(&found, &Clock::new()) {
            return Err(NotAdded::Long);
        }
        let sum = added(number(&found), delta).map_err(NotAdded::Error)?;
        let value = Small::int(sum).living(life(&found));
        let changed = self.fast_overwrite(found, value, Some((key.hash, pinned)));
        changed.map(|_| sum).ok_or(NotAdded::Long)
    }

    /// Adds to a number; a key that is absent counts as 0. Answers the sum.
    pub(crate) fn add(&self, key: Key<'_>, delta: i64) -> Result<i64, Error> {
        let pinned = reclaim::pin();
        match self.add_in_place(key, delta, &pinned) {
            Ok(sum) => return Ok(sum),
            Err(NotAdded::Error(error)) => return Err(error),
            Err(NotAdded::Long) => {}
        }
        let clock = Clock::new();
        let sum = match self.found(key, &clock, &pinned)? {
            Some(found) => added(number(&found), delta)?,
            None => delta,
        };
        let kept = Living(Always, Ttl::Keep(clock.seen()));
        self.put_small(key, ValueRef::Int(sum), kept)?;
        Ok(sum)
    }

    /// Whether a change may be made.
    pub(super) fn check(
        &self,
        key: Key<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Result<(), Error> {
        let found = self.found(key, &Clock::new(), pinned)?;
        match condition.allows(found.map(|found| found.value().revision())) {
            true => Ok(()),
            false => Err(Error::Conflict),
        }
    }

    /// Stores a value in the place of an older one, which leaves nothing to be freed: `None` if that
    /// cannot be done.
    pub(crate) fn overwrite_on(
        &self,
        key: Key<'_>,
        value: ValueRef<'_>,
        condition: impl Condition,
    ) -> Result<Option<u64>, Error> {
        let pinned = reclaim::pin();
        self.check(key, condition, &pinned)?;
        let (Some(small), false) = (Small::of(value), self.is_observed()) else {
            return Ok(None);
        };
        let clock = Clock::new();
        let _held = self.hold_times();
        let Some(found) = self.found(key, &clock, &pinned)? else {
            return Ok(None);
        };
        let life = self.new_life(condition.ttl(), Some(&found), key.hash, &clock, &pinned)?;
        let small = small.living(life);
        let changed = self.fast_overwrite(found, small, Some((key.hash, &pinned)));
        changed.map(Result::from).transpose()
    }

    /// Adds to a number in its place: `None` if that cannot be done.
    pub(crate) fn add_there(&self, key: Key<'_>, delta: i64) -> Result<Option<i64>, Error> {
        match self.add_in_place(key, delta, &reclaim::pin()) {
            Ok(sum) => Ok(Some(sum)),
            Err(NotAdded::Error(error)) => Err(error),
            Err(NotAdded::Long) => Ok(None),
        }
    }

    /// Whether a key has this value; `None` is no value.
    pub(crate) fn check_equal(
        &self,
        key: Key<'_>,
        expected: Option<ValueRef<'_>>,
        clock: &Clock,
    ) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let is_equal = match (self.found(key, clock, &pinned)?, expected) {
            (Some(found), Some(expected)) => is_value(&found, expected)?,
            (found, expected) => found.is_none() && expected.is_none(),
        };
        match is_equal {
            true => Ok(()),
            false => Err(Error::Conflict),
        }
    }

    /// The entry of a key that is there, at the moment of the clock.
    pub(super) fn found<'t>(
        &'t self,
        key: Key<'_>,
        clock: &Clock,
        pinned: &'t Guard,
    ) -> Result<Option<Found<'t, Stored>>, Error> {
        let found = self.writer(pinned).get(key.hash, &key);
        let found = found.map_err(|Closed| Error::ServerDown)?;
        Ok(found.filter(|found| !is_over(found, clock)))
    }

    /// Takes the key out if its last change has this revision. Answers the value.
    pub(crate) fn delete_if(&self, key: Key<'_>, expected: u64) -> Result<Value, Error> {
        let pinned = reclaim::pin();
        let found = self.found(key, &Clock::new(), &pinned)?;
        let found = found.ok_or(Error::NotFound)?;
        if found.value().revision() != expected {
            return Err(Error::Conflict);
        }
        let old = read(&found)?;
        self.remove_found(key, &found, &pinned);
        Ok(old)
    }

    /// As `delete_if`, for who does not want the value.
    pub(crate) fn remove_if(&self, key: Key<'_>, expected: u64) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let found = self.found(key, &Clock::new(), &pinned)?;
        let found = found.ok_or(Error::NotFound)?;
        if found.value().revision() != expected {
            return Err(Error::Conflict);
        }
        self.remove_found(key, &found, &pinned);
        Ok(())
    }

    /// Stores the value if the key has the expected one; `None` on either side is no value. Answers
    /// the revision of the change, or 0 where there was nothing to take out.
    pub(crate) fn put_if_equal(
        &self,
        key: Key<'_>,
        expected: Option<ValueRef<'_>>,
        new: New<'_>,
    ) -> Result<u64, Error> {
        let clock = Clock::new();
        self.check_equal(key, expected, &clock)?;
        let kept = Living(Always, Ttl::Keep(clock.seen()));
        match new {
            New::Small(value) => self.put_small(key, value, kept),
            New::Pair(pair) => self.put(pair, kept),
            New::Nothing if expected.is_none() => Ok(0),
            New::Nothing => {
                let pinned = reclaim::pin();
                if let Some(found) = self.found(key, &clock, &pinned)? {
                    self.remove_found(key, &found, &pinned);
                }
                Ok(self.revisions.committed())
            }
        }
    }
}

/// What is stored instead: a value that is copied into its place, a pair that was made before the
/// turn was taken, or nothing.
pub(crate) enum New<'a> {
    Small(ValueRef<'a>),
    Pair(Pair),
    Nothing,
}

/// The number under a key, if it is one. The writer's.
#[inline(always)]
fn number(found: &Found<'_, Stored>) -> Option<i64> {
    found.value().int(found.tail())
}

#[inline(always)]
fn added(number: Option<i64>, delta: i64) -> Result<i64, Error> {
    let number = number.ok_or(Error::WrongType)?;
    number
        .checked_add(delta)
        .ok_or(Error::Limit("a sum of 64 bits"))
}

/// Whether a key has this value: of the same type, with the same bytes. The writer's.
fn is_value(found: &Found<'_, Stored>, value: ValueRef<'_>) -> Result<bool, Error> {
    if size(found) - found.key().len() != value.size() {
        return Ok(false);
    }
    Ok(read(found)?.as_ref().is_identical(value))
}
