//! A copy of what a shared store has, as the store tells it (`shared.rs`).
//!
//! # The argument
//!
//! The store's revisions are the copy's: a change that is told has a larger one than all before it, or
//! was told before, and is passed over. So whoever reads the copy finds it as the store was, at some
//! revision up to now, and later never at an earlier one. Who tells is one thread at a time, and takes
//! the right to write for each step: it is the copy's only writer. Nothing goes by itself: of a key
//! whose time is over the store tells, and until then who reads looks at the clock.
//!
//! What is told anew (`replace_all`) takes the place of all that was there, key by key: the one case in
//! which the numbers may go back, and in which a reader may find one key as it is now and then another
//! as it was before. Who watches begins anew.
//!
//! A bucket that reads at its store has a copy for its watches alone. Its keys lie under another hash
//! ([`Key::aside`]), where no short way finds them.

use std::collections::BTreeMap;

use super::backed::Loaded;
use super::contents::{Contents, Pair};
use super::key::Key;
use super::key_log::Kind;
use super::limits::Cost;
use super::stored::{Life, Stored};
use super::ttl::TTL_LIMIT;
use super::writing::{count_retired, Gone};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::table::{Closed, Found, Writer};
use crate::time::Moment;
use crate::value::Value;

/// An entry that a store told.
pub(crate) struct Own {
    pub(crate) value: Value,
    pub(crate) revision: u64,
    /// When the key goes, in milliseconds since 1970.
    pub(crate) expires: Option<i64>,
}

impl Own {
    pub(crate) fn of(loaded: &Loaded<'_>) -> Result<Own, Error> {
        Ok(Own {
            value: Value::new(loaded.value)?,
            revision: loaded.revision,
            expires: loaded.expires,
        })
    }

    pub(crate) fn loaded<'o>(&'o self, key: &'o [u8]) -> Loaded<'o> {
        Loaded {
            key,
            value: self.value.as_ref(),
            revision: self.revision,
            expires: self.expires,
        }
    }
}

/// All that a store has, by key.
pub(crate) type All = BTreeMap<Box<[u8]>, Own>;

/// No note has it: the copy is not swept.
const UNNOTED: u8 = 0;

impl Exclusive<'_, Contents> {
    /// A key was stored, as its store tells it at this time of the wall clock.
    #[cold]
    pub(crate) fn mirror_put(
        &self,
        key: Key<'_>,
        loaded: &Loaded<'_>,
        now: i64,
    ) -> Result<(), Error> {
        if loaded.revision <= self.revisions.committed() {
            return Ok(());
        }
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let pair = self.mirrored(key, loaded, now)?;
        let change = self.tell_stored(&pair);
        let old = writer.get(key.hash, &key);
        let old = old.map_err(|Closed| Error::NoProcess)?;
        self.revisions.begin_at(loaded.revision);
        if let Some(old) = &old {
            self.snapshots.keep(old, key.hash, loaded.revision, &pinned);
        }
        if let Err(refused) = self.mirror_insert(&writer, pair, old.as_ref(), &pinned) {
            self.revisions.abandon();
            return Err(refused);
        }
        self.revisions.commit();
        self.note(Kind::Put, loaded.revision, &key, &pinned);
        self.tell(change);
        Ok(())
    }

    /// A key went, by a change of this revision.
    #[cold]
    pub(crate) fn mirror_gone(&self, key: Key<'_>, revision: u64, is_expired: bool) {
        if revision <= self.revisions.committed() {
            return;
        }
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let found = writer.get(key.hash, &key).ok().flatten();
        self.revisions.begin_at(revision);
        let why = match is_expired {
            true => Gone::Expired,
            false => Gone::Deleted,
        };
        if let Some(found) = &found {
            self.snapshots.keep(found, key.hash, revision, &pinned);
            self.mirror_remove(&writer, found, key, &pinned);
        }
        self.revisions.commit();
        if found.is_some() {
            self.note(why.into(), revision, &key, &pinned);
            if is_expired {
                self.count_expired();
            }
        }
        self.tell_deleted(&key);
    }

    /// All that there is now, as of a revision; the key that each has here is told by `place`. Where
    /// there is no memory for it, it is not whole.
    #[cold]
    pub(crate) fn replace_all(
        &self,
        all: &All,
        revision: u64,
        now: i64,
        place: impl Fn(&[u8]) -> Key<'_>,
    ) -> Result<(), Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let mut going: Vec<Box<[u8]>> = Vec::new();
        for found in writer.entries().map_err(|Closed| Error::NoProcess)? {
            if !all.contains_key(found.key()) {
                memory::without_reserve(|| going.try_reserve(1)).map_err(|_| Error::NoMemory)?;
                going.push(memory::bytes(found.key()).ok_or(Error::NoMemory)?);
            }
        }
        self.revisions.begin_at(u64::MAX); // nobody reads at one instant meanwhile
        self.snapshots.fail_all(&pinned);
        for key in &going {
            let key = place(key);
            if let Ok(Some(found)) = writer.get(key.hash, &key) {
                self.mirror_remove(&writer, &found, key, &pinned);
                self.tell_deleted(&key);
            }
        }
        let stored = self.mirror_each(&writer, all, now, place, &pinned);
        self.revisions.start_over(revision);
        self.note(Kind::Cleared, revision, b"", &pinned);
        stored
    }

    #[cold]
    fn mirror_each(
        &self,
        writer: &Writer<'_, Stored>,
        all: &All,
        now: i64,
        place: impl Fn(&[u8]) -> Key<'_>,
        pinned: &Guard,
    ) -> Result<(), Error> {
        for (bytes, own) in all {
            let key = place(bytes);
            let old = writer.get(key.hash, &key);
            let old = old.map_err(|Closed| Error::NoProcess)?;
            let pair = self.mirrored(key, &own.loaded(bytes), now)?;
            let change = self.tell_stored(&pair);
            self.mirror_insert(writer, pair, old.as_ref(), pinned)?;
            self.tell(change);
        }
        Ok(())
    }

    /// The entry of a key, with what is left of its time.
    #[cold]
    fn mirrored(&self, key: Key<'_>, loaded: &Loaded<'_>, now: i64) -> Result<Pair, Error> {
        let life = loaded.expires.map(|expires| {
            let left = expires.saturating_sub(now).max(0).unsigned_abs();
            let left = left.min(TTL_LIMIT.as_millis() as u64);
            Life::new(Moment::now().after(left), UNNOTED)
        });
        if life.is_some() {
            self.times.use_without_notes();
        }
        let pair = Pair::with_room(key, loaded.value, life.is_some())?.living(life)?;
        pair.0.view().value().set_revision(loaded.revision);
        Ok(pair)
    }

    #[cold]
    fn mirror_insert(
        &self,
        writer: &Writer<'_, Stored>,
        pair: Pair,
        old: Option<&Found<'_, Stored>>,
        pinned: &Guard,
    ) -> Result<(), Error> {
        let (less, more) = (old.map(Cost::of).unwrap_or_default(), pair.cost());
        pair.0.set_marks(self.marks_of(old, pair.0.hash(), pinned));
        let replaced = writer.insert(pair.0)?;
        count_retired(replaced.as_ref(), pinned);
        // It counts in a registry that has a limit, and is not refused by that: nobody here stored it.
        self.uncharge(more, less);
        Ok(())
    }

    #[cold]
    fn mirror_remove(
        &self,
        writer: &Writer<'_, Stored>,
        found: &Found<'_, Stored>,
        key: Key<'_>,
        pinned: &Guard,
    ) {
        let cost = Cost::of(found);
        writer.remove(key.hash, &key);
        self.discharge(cost);
        count_retired(Some(found), pinned);
    }
}
