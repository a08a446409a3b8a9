//! What is stored after redb could not store it.
//!
//! # The argument
//!
//! A transaction of redb's is stored as a whole or not at all, also if it failed. After the disk
//! refused something redb does nothing more; so the database is given up, without a word to the
//! disk, and opened again, over the same descriptor, which keeps the lock. The number of commits
//! that it has then tells whether the transaction is stored: it is one more.
//!
//! That is what the system would read, and so what is stored, unless it was a sync that failed:
//! then the system may have forgotten what it could not write, and holds what it read for stored.
//! Nobody knows then: that is `KVREG_IO`, and what the system holds is read from the disk again.
//!
//! What was written in vain keeps its room in the file, so the disk stays full. It is given back
//! before the file is opened again, as holes: all that was written since the last sync which went
//! well, but for the header. redb expects no more of that than a power failure would leave, which
//! is nothing; and the refused write is not among it, so the transaction is not whole anyway.
//!
//! Opening searches the whole file. Where the disk is full, and stays so, that is not done for each
//! write: for a while none is tried.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::abi;
use crate::backend::Op;
use crate::contents::Contents;
use crate::disk::Disk;
use crate::failure::Failure;

/// For so many times as long as it took to open the file no write is tried.
const REST: u32 = 4;

/// A file that is open, and what is known of its contents: nothing if they could not be opened.
pub(crate) struct Opened {
    disk: Arc<Disk>,
    contents: Option<Contents>,
    /// Until then there is no room, it is supposed.
    full_until: Option<Instant>,
}

impl Opened {
    pub(crate) fn new(disk: Arc<Disk>, path: &Path) -> Result<Opened, Failure> {
        let contents = Contents::open(&disk).map_err(|it| Failure::of_redb(path, it))?;
        Ok(Opened {
            disk,
            contents: Some(contents),
            full_until: None,
        })
    }

    #[cfg(test)]
    pub(crate) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Reads. What was refused is asked for anew by the next one.
    pub(crate) fn read<R>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&Contents) -> Result<R, redb::Error>,
    ) -> Result<R, Failure> {
        let contents = self.take(path)?;
        let answer = work(&contents).map_err(|it| Failure::of_redb(path, it).unknown())?;
        self.contents = Some(contents);
        Ok(answer)
    }

    /// Forgets what redb holds for the contents: reading them failed.
    pub(crate) fn read_anew(&mut self) {
        self.contents = None;
    }

    /// Makes a change in one transaction. `KVREG_IO` if nobody knows whether it is stored; it is
    /// not after any other failure. `done` is what it answers if it failed and is stored.
    pub(crate) fn change<R>(
        &mut self,
        path: &Path,
        done: R,
        work: impl FnOnce(&mut Contents) -> Result<R, redb::Error>,
    ) -> Result<R, Failure> {
        let mut contents = self.take(path)?;
        match work(&mut contents) {
            Ok(answer) => {
                self.contents = Some(contents);
                Ok(answer)
            }
            Err(error) => {
                let failure = Failure::of_redb(path, error);
                self.find_out(contents, failure).map(|()| done)
            }
        }
    }

    /// Opens the contents again, in which a change failed. `Ok` if it is stored.
    fn find_out(&mut self, contents: Contents, failure: Failure) -> Result<(), Failure> {
        let begin = Instant::now();
        let (fault, commits) = (contents.last_fault(), contents.commits);
        let in_vain = contents.take_unsynced();
        drop(contents);
        if fault.is_some_and(|it| it.is_no_room && it.op != Op::Sync) {
            self.disk.give_back(&in_vain);
        }
        let is_unsynced = fault.is_some_and(|it| it.op == Op::Sync);
        if is_unsynced {
            self.disk.forget_cache();
        }
        self.contents = Contents::open(&self.disk).ok();
        let Some(again) = self.contents.as_ref().filter(|_| !is_unsynced) else {
            return Err(failure.unknown());
        };
        if again.commits > commits {
            return self.disk.sync().map_err(|_| failure.unknown());
        }
        if fault.is_some_and(|it| it.is_no_room) {
            self.full_until = Some(Instant::now() + begin.elapsed() * REST);
            return Err(failure.no_room());
        }
        Err(failure.unknown())
    }

    /// `KVREG_LIMIT` if there was no room a moment ago.
    pub(crate) fn check_room(&mut self, path: &Path) -> Result<(), Failure> {
        match self.full_until {
            Some(until) if Instant::now() < until => {
                let text = format!("{}: there was no room a moment ago", path.display());
                Err(Failure::new(abi::LIMIT, text))
            }
            _ => {
                self.full_until = None;
                Ok(())
            }
        }
    }

    /// The contents, which are away then: who panics leaves nothing that is used again.
    fn take(&mut self, path: &Path) -> Result<Contents, Failure> {
        match self.contents.take() {
            Some(contents) => Ok(contents),
            None => Contents::open(&self.disk).map_err(|it| Failure::of_redb(path, it)),
        }
    }
}
