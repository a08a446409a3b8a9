//! The names of a registry: read by any thread, changed by the one that may.

use std::sync::Arc;

use crate::error::Error;
use crate::hash::hash;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::{AnyServer, Exclusive, NamedServer, Place};
use crate::table::{Closed, Entry, Table, TableValue, Writer};

pub(crate) struct Names(Table<NamedServer>);

impl TableValue for NamedServer {}

impl Names {
    pub(super) fn new() -> Names {
        Names(Table::new())
    }

    /// Who has the name; `NoProcess` if the registry has closed.
    pub(super) fn find(&self, name: &str) -> Result<NamedServer, Error> {
        let hash = hash(name.as_bytes());
        match self.0.get(hash, name.as_bytes(), &reclaim::pin()) {
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
        Some(self.0.get(hash(name), name, pinned).ok()??.value())
    }

    pub(super) fn count(&self) -> Result<usize, Error> {
        self.0
            .len(&reclaim::pin())
            .map_err(|Closed| Error::NoProcess)
    }
}

impl Exclusive<'_, Names> {
    fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, NamedServer> {
        // SAFETY: this right is one thread's at a time.
        unsafe { self.0.writer(pinned) }
    }

    /// Starts a child under the name of its place: a new one, or instead of the one that has it.
    pub(super) fn put(&self, place: Place) -> Result<NamedServer, Error> {
        let pinned = reclaim::pin();
        let names = self.writer(&pinned);
        names.reserve(1)?;
        let name: Box<[u8]> = place.name().as_bytes().into();
        let child = place.start();
        let entry = Entry::allocate(&name, child.clone(), b"", 0);
        match entry.and_then(|entry| names.insert(entry)) {
            Ok(_) => Ok(child),
            Err(error) => {
                child.any().discard();
                Err(error)
            }
        }
    }

    pub(super) fn remove(&self, name: &str) {
        let hash = hash(name.as_bytes());
        self.writer(&reclaim::pin()).remove(hash, name.as_bytes());
    }

    /// All who have a name.
    pub(super) fn all(&self) -> Result<Vec<Arc<dyn AnyServer>>, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let entries = writer.entries().into_iter().flatten();
        let mut all = room_for(self.count().unwrap_or(0))?;
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

    /// All names at one instant.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let entries = writer.entries().map_err(|Closed| Error::NoProcess)?;
        let mut names = room_for(self.count()?)?;
        for found in entries {
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
        writer.close()
    }
}

/// There may be many.
fn room_for<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    memory::reserve(&mut room, count)?;
    Ok(room)
}
