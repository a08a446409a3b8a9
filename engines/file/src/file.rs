//! One file, and the buckets that share it.
//!
//! # The argument
//!
//! Who has the turn (`opened`) uses the contents, one at a time: a write of one bucket waits for
//! those of others, however long the disk takes, since a write that began is ended. The lock of
//! what waits (`waiting`) is held for no longer than a batch is put there, and is taken within the
//! turn, never the other way round. A scan reads beside writes: it has the turn until it has begun.
//!
//! A bucket whose writes are synced once a second leaves them in `waiting`, in the order in which
//! they came; whoever has the turn next stores all of them in one transaction, with its own changes
//! behind them. So what a crash takes are the last ones, of all buckets. They wait here, and not in
//! redb as commits that are not durable, since those go with redb's state when the disk refuses a
//! commit: here they are kept until there is room, and meanwhile writes are refused. If nobody
//! knows what became of them, their buckets are lost: they store nothing more, which would be
//! behind a gap.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::abi;
use crate::batch::{Batch, Lane};
use crate::contents::{Commit, Records};
use crate::disk::{self, Disk};
use crate::failure::Failure;
use crate::panics::contain;
use crate::recovery::Opened;

/// So many bytes may wait until they are stored; who brings more stores them.
const WAITING: usize = 8 << 20;

/// How often a lock is tried that another process has.
const STEP: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Waiting {
    batches: VecDeque<Batch>,
    size: usize,
    /// They could not be stored, for want of room.
    is_stuck: bool,
}

impl Waiting {
    fn has(&self, bucket: &str) -> bool {
        self.batches.iter().any(|batch| batch.lane.bucket == bucket)
    }

    fn forget(&mut self, bucket: &str) {
        self.batches.retain(|batch| batch.lane.bucket != bucket);
        self.is_stuck &= !self.batches.is_empty();
        self.count();
    }

    /// What was not stored goes before what came meanwhile, or is lost.
    fn take_back(&mut self, mut batches: VecDeque<Batch>, stored: &Result<(), Failure>) {
        match stored {
            Ok(()) => self.is_stuck = false,
            Err(failure) if failure.may_be_repeated() => {
                self.is_stuck |= !batches.is_empty();
                batches.append(&mut self.batches);
                self.batches = batches;
            }
            Err(_) => {
                batches.iter().for_each(|batch| batch.lane.lose());
                self.batches.retain(|batch| !batch.lane.is_lost());
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.size = self.batches.iter().map(Batch::size).sum();
    }
}

pub(crate) struct File {
    pub(crate) path: PathBuf,
    opened: Mutex<Option<Opened>>,
    waiting: Mutex<Waiting>,
}

/// What is protected is whole whoever panicked: `recovery.rs`, and queues.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until when somebody waits for a lock: told whether it is time to give up.
pub(crate) type IsLate<'a> = &'a dyn Fn() -> bool;

impl File {
    pub(crate) fn new(path: PathBuf) -> File {
        File {
            path,
            opened: Mutex::new(None),
            waiting: Mutex::default(),
        }
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::of_system(&self.path, error)
    }

    /// Opens it if that has not been done; `creates` it if it is not there.
    pub(crate) fn open(&self, creates: bool, is_late: IsLate<'_>) -> Result<(), Failure> {
        let mut opened = lock(&self.opened);
        if opened.is_some() {
            return Ok(());
        }
        let disk = Disk::open(&self.path, creates).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if !creates => none(&self.path),
            _ => self.failed(&error),
        })?;
        while !disk.try_lock().map_err(|it| self.failed(&it))? {
            if is_late() {
                let text = format!("{}: another process has the file", self.path.display());
                return Err(Failure::io(text));
            }
            std::thread::sleep(STEP);
        }
        disk.empty_if_half_made().map_err(|it| self.failed(&it))?;
        let is_new = disk.is_empty().map_err(|it| self.failed(&it))?;
        if is_new && !creates {
            return Err(none(&self.path));
        }
        let contents = Opened::new(Arc::new(disk), &self.path)?;
        if is_new {
            disk::sync_folder(&self.path).map_err(|it| self.failed(&it))?;
        }
        *opened = Some(contents);
        Ok(())
    }

    /// Closes it, unless somebody opened it anew: told, with the turn, by `is_unused`.
    pub(crate) fn close(&self, is_unused: impl FnOnce() -> bool) {
        let mut opened = lock(&self.opened);
        if is_unused() {
            // What waits yet had no room when its bucket was closed.
            *lock(&self.waiting) = Waiting::default();
            *opened = None;
        }
    }

    /// Stores a batch, and what waits, before it answers.
    pub(crate) fn store(&self, batch: Batch) -> Result<(), Failure> {
        self.store_all(Some(batch), Commit::Fast)
    }

    /// Stores what waits.
    pub(crate) fn store_waiting(&self) -> Result<(), Failure> {
        self.store_all(None, Commit::Reopening)
    }

    fn store_all(&self, own: Option<Batch>, commit: Commit) -> Result<(), Failure> {
        let mut place = lock(&self.opened);
        let mut batches = VecDeque::new();
        {
            let mut waiting = lock(&self.waiting);
            batches.try_reserve(waiting.batches.len() + 1)?;
            batches.append(&mut waiting.batches);
            waiting.size = 0;
        }
        let has_own = own.is_some();
        batches.extend(own);
        if batches.is_empty() {
            return Ok(());
        }
        let stored = match place.as_mut() {
            Some(opened) => self.store_in(opened, &mut batches, has_own, commit),
            None => Err(Failure::io("the file was closed")),
        };
        if has_own {
            batches.pop_back(); // it was answered, or never will be stored
        }
        lock(&self.waiting).take_back(batches, &stored);
        stored
    }

    /// Stores the batches, in one transaction. If there is no room, and nobody waits for the last
    /// one, as many of the first as there is room for. Leaves those that are not stored.
    fn store_in(
        &self,
        opened: &mut Opened,
        batches: &mut VecDeque<Batch>,
        has_own: bool,
        commit: Commit,
    ) -> Result<(), Failure> {
        opened.check_room(&self.path)?;
        let mut count = batches.len();
        while !batches.is_empty() {
            count = count.min(batches.len());
            let first = &batches.make_contiguous()[..count];
            // A panic may not take away what waits: its buckets are lost then.
            let stored = contain(|| opened.change(&self.path, (), |it| it.store(first, commit)));
            match stored.unwrap_or_else(|| Err(Failure::new(abi::INTERNAL, "a panic"))) {
                Ok(()) => drop(batches.drain(..count)),
                Err(failure) if failure.may_be_repeated() && count > 1 && !has_own => count /= 2,
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Leaves a batch to be stored within a second.
    pub(crate) fn store_later(&self, batch: Batch) -> Result<(), Failure> {
        let mut waiting = lock(&self.waiting);
        if waiting.is_stuck || waiting.size > WAITING {
            drop(waiting);
            self.store_waiting()?;
            waiting = lock(&self.waiting);
        }
        if batch.lane.is_lost() {
            let text = "{}: what was to be stored in the last second is lost";
            return Err(Failure::io(
                text.replace("{}", &self.path.display().to_string()),
            ));
        }
        waiting.batches.try_reserve(1)?;
        waiting.size += batch.size();
        waiting.batches.push_back(batch);
        Ok(())
    }

    /// The records of a bucket, of which nothing waits, and its last revision.
    pub(crate) fn read(&self, lane: &Lane) -> Result<(Option<Records>, u64), Failure> {
        let stored = self.store_waiting();
        if lock(&self.waiting).has(&lane.bucket) {
            stored?;
        }
        self.with(|opened| opened.read(&self.path, |it| it.read(&lane.bucket)))
    }

    /// Reading failed: what is read next is asked of the disk.
    pub(crate) fn read_anew(&self) {
        if let Some(opened) = lock(&self.opened).as_mut() {
            opened.read_anew();
        }
    }

    /// Takes out what there is of a bucket that is not open.
    pub(crate) fn erase(&self, bucket: &str) -> Result<(), Failure> {
        lock(&self.waiting).forget(bucket);
        let was_there =
            self.with(|opened| opened.change(&self.path, true, |it| it.erase(bucket)))?;
        match was_there {
            true => Ok(()),
            false => Err(none(&self.path)),
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Opened) -> Result<R, Failure>) -> Result<R, Failure> {
        let mut place = lock(&self.opened);
        let opened = place.as_mut();
        work(opened.ok_or_else(|| Failure::io("the file was closed"))?)
    }

    #[cfg(test)]
    pub(crate) fn disk(&self) -> Arc<Disk> {
        Arc::clone(lock(&self.opened).as_ref().unwrap().disk())
    }
}

fn none(path: &Path) -> Failure {
    Failure::new(
        abi::NOT_FOUND,
        format!("{}: it has no such bucket", path.display()),
    )
}
