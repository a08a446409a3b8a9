//! What redb reads and writes by: the disk, and a note of what it refused last. After redb was told of
//! an error it asks for nothing more, so that is the one which it was told of.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::disk::Disk;
use crate::failure::is_no_room;

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

#[derive(Clone, Debug, Default)]
pub(crate) struct LastFault(Arc<Mutex<Option<Fault>>>);

impl LastFault {
    pub(crate) fn get(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, op: Op, error: &io::Error) {
        let is_no_room = is_no_room(error);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Fault { op, is_no_room });
    }
}

/// The disk as one opening of the database has it. It takes no lock, since the disk has one, and
/// `close` closes nothing.
#[derive(Debug)]
pub(crate) struct Backend {
    disk: Arc<Disk>,
    last: LastFault,
}

impl Backend {
    pub(crate) fn new(disk: Arc<Disk>) -> Backend {
        Backend {
            disk,
            last: LastFault::default(),
        }
    }

    pub(crate) fn last_fault(&self) -> LastFault {
        self.last.clone()
    }

    fn noting<R>(&self, op: Op, work: impl FnOnce(&Disk) -> io::Result<R>) -> io::Result<R> {
        #[cfg(test)]
        let work = |disk: &Disk| disk.chaos.meet(op).and_then(|()| work(disk));
        let done = work(&self.disk);
        if let Err(error) = &done {
            self.last.note(op, error);
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
        self.noting(Op::SetLen, |disk| disk.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noting(Op::Sync, |disk| disk.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.noting(Op::Write, |disk| disk.inner.write(offset, data))
    }
}
