//! One bucket's store: its lane of a file, from its opening to its closing.

use std::sync::Arc;

use redb::ReadableTable;

use crate::batch::{Batch, Lane};
use crate::failure::Failure;
use crate::file::IsLate;
use crate::location::{Location, Sync};
use crate::record::Record;
use crate::ticker::Ticking;
use crate::world::{world, Lease};

pub(crate) struct Store {
    lane: Arc<Lane>,
    /// For those that are synced once a second. It ends before the file does.
    ticking: Option<Ticking>,
    pub(crate) lease: Lease,
}

impl Store {
    pub(crate) fn open(
        location: &Location,
        bucket: &str,
        owner: u64,
        is_late: IsLate<'_>,
    ) -> Result<Store, Failure> {
        let lease = Lease::new(&location.path, owner, true, is_late)?;
        let ticking = match location.sync {
            Sync::Always => None,
            Sync::Interval => Some(Ticking::new(world())?),
        };
        Ok(Store {
            lane: Arc::new(Lane::new(bucket.to_owned())),
            ticking,
            lease,
        })
    }

    /// An empty batch, for `write`.
    pub(crate) fn batch(&self, count: usize) -> Result<Batch, Failure> {
        Batch::new(Arc::clone(&self.lane), count)
    }

    pub(crate) fn write(&self, batch: Batch) -> Result<(), Failure> {
        match self.ticking {
            None => self.lease.file.store(batch),
            Some(_) => self.lease.file.store_later(batch),
        }
    }

    /// Tells all keys with their records, after the last revision, until somebody fails.
    pub(crate) fn scan<E: From<Failure>>(
        &self,
        last_revision: impl FnOnce(u64) -> Result<(), E>,
        mut found: impl FnMut(&[u8], &Record<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = &self.lease.file;
        let unread = |error: redb::StorageError| {
            file.read_anew();
            Failure::of_redb(&file.path, error.into()).unknown()
        };
        let (records, revision) = file.read(&self.lane)?;
        last_revision(revision)?;
        let Some(records) = records else {
            return Ok(());
        };
        for entry in records.iter().map_err(unread)? {
            let (key, record) = entry.map_err(unread)?;
            found(key.value(), &Record::get(record.value())?)?;
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.ticking.is_some() {
            // Nobody is left who could be told that it fails.
            let _ = self.lease.file.store_waiting();
        }
    }
}

/// Erases what is kept of a bucket of which no store is open.
pub(crate) fn destroy(
    location: &Location,
    bucket: &str,
    owner: u64,
    is_late: IsLate<'_>,
) -> Result<(), Failure> {
    let lease = Lease::new(&location.path, owner, false, is_late)?;
    lease.file.erase(bucket)
}
