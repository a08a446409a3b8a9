//! What redb reads and writes by: the disk, and a note of what it refused last. After redb was told
//! of an error it asks for nothing more, so that is the one which it was told of.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

#[cfg(test)]
use crate::disk::chaos::Done;
use crate::disk::Disk;
use crate::failure::is_no_room;
use crate::file::lock;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Read,
    Write,
    SetLen,
    Sync,
}

/// What the disk refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) op: Op,
    pub(crate) is_no_room: bool,
}

/// What became of what redb asked for.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    last_fault: Mutex<Option<Fault>>,
    unsynced: Mutex<Vec<Range<u64>>>,
}

impl Trace {
    pub(crate) fn last_fault(&self) -> Option<Fault> {
        *lock(&self.last_fault)
    }

    /// Where was written since the last sync that went well.
    pub(crate) fn take_unsynced(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut lock(&self.unsynced))
    }
}

/// The disk as one opening of the database has it. It takes no lock, since the disk has one, and
/// `close` closes nothing.
#[derive(Debug)]
pub(crate) struct Backend {
    disk: Arc<Disk>,
    trace: Arc<Trace>,
}

impl Backend {
    pub(crate) fn new(disk: Arc<Disk>) -> Backend {
        Backend {
            disk,
            trace: Arc::default(),
        }
    }

    pub(crate) fn trace(&self) -> Arc<Trace> {
        Arc::clone(&self.trace)
    }

    fn noting<R>(&self, op: Op, work: impl FnOnce(&Disk) -> io::Result<R>) -> io::Result<R> {
        #[cfg(test)]
        let work = |disk: &Disk| disk.chaos.meet(op).and_then(|()| work(disk));
        let done = work(&self.disk);
        if let Err(error) = &done {
            let is_no_room = is_no_room(error);
            *lock(&self.trace.last_fault) = Some(Fault { op, is_no_room });
        }
        done
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.noting(Op::Read, |disk| disk.inner.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.noting(Op::Read, |disk| disk.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noting(Op::SetLen, |disk| disk.inner.set_len(len))?;
        #[cfg(test)]
        self.disk.chaos.note(|| Done::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        // What is written meanwhile, by others, is not known to be synced.
        let before = lock(&self.trace.unsynced).len();
        self.noting(Op::Sync, |disk| disk.inner.sync_data())?;
        #[cfg(test)]
        self.disk.chaos.note(|| Done::Sync);
        lock(&self.trace.unsynced).drain(..before);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // One that is refused may have been written in part.
        lock(&self.trace.unsynced).push(offset..offset + data.len() as u64);
        self.noting(Op::Write, |disk| disk.inner.write(offset, data))?;
        #[cfg(test)]
        self.disk.chaos.note(|| Done::Write(offset, data.to_vec()));
        Ok(())
    }
}
