//! What watches read of a bucket, and where its changes are noted for them.

use super::contents::{Contents, Unread, WATCHED};
use super::key::Key;
use super::key_log::Kind;
use super::reading::{try_read_entry, KeyOnly, Owned};
use super::watching::{Covered, Watch, Watching, Woken};
use super::writing::Gone;
use crate::error::Error;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::{Arc, Ordering, Weak};
use crate::table::{Closed, Position};
use crate::time::Clock;
use crate::value::Value;

impl From<Gone> for Kind {
    fn from(why: Gone) -> Kind {
        match why {
            Gone::Deleted => Kind::Deleted,
            Gone::Expired => Kind::Expired,
            Gone::Evicted => Kind::Evicted,
        }
    }
}

impl Exclusive<'_, Contents> {
    /// From now on a watch can read what changes.
    pub(crate) fn watch(
        &self,
        reference: u64,
        covered: Covered,
        inbox: Weak<dyn Woken>,
    ) -> Result<Arc<Watch>, Error> {
        let heed = &self.heed;
        let mark = || {
            heed.fetch_or(WATCHED, Ordering::Relaxed);
        };
        self.watching.add(reference, covered, inbox, mark)
    }

    /// Notes a change of a key for those who watch. Called when it counts.
    #[inline(always)]
    pub(super) fn note(&self, kind: Kind, revision: u64, key: &[u8], pinned: &Guard) {
        if self.heed.load(Ordering::Relaxed) & WATCHED != 0 {
            self.watching.note(kind, revision, key, pinned);
        }
    }
}

/// As `Watched` asks for them.
impl Contents {
    pub(crate) fn watching(&self) -> &Watching {
        &self.watching
    }

    pub(crate) fn unwatch(&self, watch: &Arc<Watch>) {
        let unmark = || {
            self.heed.fetch_and(!WATCHED, Ordering::Relaxed);
        };
        self.watching.remove(watch, unmark, &reclaim::pin());
    }

    pub(crate) fn known(&self) -> u64 {
        self.revisions.known()
    }

    pub(crate) fn now(
        &self,
        key: Key<'_>,
        with_value: bool,
    ) -> Result<Option<(Value, u64)>, Unread> {
        let (clock, pinned) = (Clock::new(), reclaim::pin());
        let read = self.resolve(key, &pinned, |look| match with_value {
            true => try_read_entry(look, Owned, &clock, || true),
            false => try_read_entry(look, KeyOnly, &clock, || true),
        })?;
        Ok(read.map(|(value, facts)| (value, facts.revision)))
    }

    pub(crate) fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        let page = self.table.page(from, enough, pinned, show);
        page.map_err(|Closed| Error::NoProcess)?
    }

    /// As `page`, of contents whose keys lie aside.
    pub(crate) fn page_aside(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        let page = self
            .table
            .page_hashed(Key::hash_aside, from, enough, pinned, show);
        page.map_err(|Closed| Error::NoProcess)?
    }
}
