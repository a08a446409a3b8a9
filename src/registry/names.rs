//! The names of a registry: read by any thread, changed by the one that may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::bucket::BucketState;
use crate::error::Error;
use crate::hash::hash;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::{AnyServer, Exclusive, NamedServer, Place};
use crate::store::{Covered, Kind, RevisionBlocks, Revisions, Watch, Watching, Woken};
use crate::table::{Closed, Entry, Position, Table, TableValue, Writer};

pub(crate) struct Names {
    /// Each with the revision of its last change behind it.
    table: Table<NamedServer>,
    /// Names change too: their numbers are drawn where the buckets draw theirs.
    revisions: Revisions,
    watching: Watching,
    /// There are watches. Set by who may change the names.
    is_watched: AtomicBool,
}

impl TableValue for NamedServer {}

impl Names {
    pub(super) fn new(blocks: Option<Arc<RevisionBlocks>>) -> Names {
        Names {
            table: Table::new(),
            revisions: Revisions::of(blocks),
            watching: Watching::default(),
            is_watched: AtomicBool::new(false),
        }
    }

    /// Who has the name; `NoProcess` if the registry has closed.
    pub(super) fn find(&self, name: &str) -> Result<NamedServer, Error> {
        let hash = hash(name.as_bytes());
        match self.table.get(hash, name.as_bytes(), &reclaim::pin()) {
            Ok(Some(found)) => Ok(found.value().clone()),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    /// Who has the name, if no step of the search is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(super) fn fast_find<'g>(
        &'g self,
        name: &[u8],
        pinned: &'g Guard,
    ) -> Option<&'g NamedServer> {
        Some(self.table.get(hash(name), name, pinned).ok()??.value())
    }

    pub(super) fn watching(&self) -> &Watching {
        &self.watching
    }

    pub(super) fn unwatch(&self, watch: &Arc<Watch>) {
        let unmark = || self.is_watched.store(false, Ordering::Relaxed);
        self.watching.remove(watch, unmark, &reclaim::pin());
    }

    /// A revision up to which all changes are seen.
    pub(super) fn known(&self) -> u64 {
        self.revisions.known()
    }

    /// Of the last change of a name that a bucket has.
    pub(super) fn revision(&self, name: &[u8]) -> Result<Option<u64>, Error> {
        let pinned = reclaim::pin();
        let found = self.table.get(hash(name), name, &pinned);
        let found = found.map_err(|Closed| Error::NoProcess)?;
        let found = found.filter(|found| is_bucket(found.value()));
        let word = found.and_then(|found| found.tail().first());
        Ok(word.map(|word| word.load(crate::sync::Ordering::Relaxed)))
    }

    /// Some names of buckets; see `Table::page`.
    pub(super) fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        let mut show_bucket = |name: &[u8]| match self.fast_find(name, pinned) {
            Some(child) if !is_bucket(child) => Ok(()),
            _ => show(name),
        };
        let page = self.table.page(from, enough, pinned, &mut show_bucket);
        page.map_err(|Closed| Error::NoProcess)?
    }

    pub(super) fn count(&self) -> Result<usize, Error> {
        self.table
            .len(&reclaim::pin())
            .map_err(|Closed| Error::NoProcess)
    }
}

impl Exclusive<'_, Names> {
    fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, NamedServer> {
        // SAFETY: this right is one thread's at a time.
        unsafe { self.table.writer(pinned) }
    }

    /// From now on a watch can read what changes.
    pub(super) fn watch(
        &self,
        reference: u64,
        covered: Covered,
        inbox: Weak<dyn Woken>,
    ) -> Result<Arc<Watch>, Error> {
        let mark = || self.is_watched.store(true, Ordering::Relaxed);
        self.watching.add(reference, covered, inbox, mark)
    }

    /// Notes a change that counts for those who watch: the names of buckets, as `names` tells them.
    fn note(&self, child: &NamedServer, kind: Kind, revision: u64, name: &[u8], pinned: &Guard) {
        if self.is_watched.load(Ordering::Relaxed) && is_bucket(child) {
            self.watching.note(kind, revision, name, pinned);
        }
    }

    /// Starts a child under the name of its place: a new one, or instead of the one that has it.
    pub(super) fn put(&self, place: Place) -> Result<NamedServer, Error> {
        let pinned = reclaim::pin();
        let names = self.writer(&pinned);
        names.reserve(1)?;
        let name: Box<[u8]> = place.name().as_bytes().into();
        let child = place.start();
        let revision = self.revisions.begin(1);
        let entry = Entry::allocate(&name, child.clone(), &revision.to_ne_bytes(), 1);
        match entry.and_then(|entry| names.insert(entry)) {
            Ok(_) => {
                self.revisions.commit();
                self.note(&child, Kind::Put, revision, &name, &pinned);
                Ok(child)
            }
            Err(error) => {
                self.revisions.abandon();
                child.any().discard();
                Err(error)
            }
        }
    }

    pub(super) fn remove(&self, name: &str) {
        let (hash, pinned) = (hash(name.as_bytes()), reclaim::pin());
        let revision = self.revisions.begin(1);
        let child = self.fast_find(name.as_bytes(), &pinned);
        let removed = self.writer(&pinned).remove(hash, name.as_bytes());
        match (removed, child) {
            (Some(_), Some(child)) => {
                self.revisions.commit();
                self.note(child, Kind::Deleted, revision, name.as_bytes(), &pinned);
            }
            _ => self.revisions.abandon(),
        }
    }

    /// All who have a name.
    pub(super) fn all(&self) -> Result<Vec<Arc<dyn AnyServer>>, Error> {
        self.all_such(|_| true)
    }

    pub(super) fn all_buckets(&self) -> Result<Vec<Arc<dyn AnyServer>>, Error> {
        self.all_such(is_bucket)
    }

    fn all_such(
        &self,
        is_such: impl Fn(&NamedServer) -> bool,
    ) -> Result<Vec<Arc<dyn AnyServer>>, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let entries = writer.entries().into_iter().flatten();
        let mut all = room_for(self.count().unwrap_or(0))?;
        let entries = entries.filter(|found| is_such(found.value()));
        all.extend(entries.map(|found| Arc::clone(found.value().any())));
        Ok(all)
    }

    /// Whether any of them is such. What is asked may take no lock but the lowest.
    pub(super) fn any(&self, is_such: impl Fn(&Arc<dyn AnyServer>) -> bool) -> bool {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let mut entries = writer.entries().into_iter().flatten();
        entries.any(|found| is_such(found.value().any()))
    }

    /// All names of such children at one instant.
    pub(super) fn names(
        &self,
        is_such: impl Fn(&NamedServer) -> bool,
    ) -> Result<Vec<String>, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let entries = writer.entries().map_err(|Closed| Error::NoProcess)?;
        let mut names = room_for(self.count()?)?;
        for found in entries.filter(|found| is_such(found.value())) {
            let name = memory::text(&String::from_utf8_lossy(found.key()));
            names.push(name.ok_or(Error::NoMemory)?);
        }
        Ok(names)
    }

    /// Hands out all who have a name, and lets nobody in any more; `false` if it was closed
    /// already.
    pub(super) fn close(&self, mut each: impl FnMut(&Arc<dyn AnyServer>)) -> bool {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let entries = writer.entries().into_iter().flatten();
        entries.for_each(|found| each(found.value().any()));
        let was_open = writer.close();
        if was_open {
            self.watching.close(&pinned);
        }
        was_open
    }
}

fn is_bucket(child: &NamedServer) -> bool {
    child.is_kind::<BucketState>()
}

/// There may be many.
fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    memory::reserve(&mut room, count)?;
    Ok(room)
}
