//! The copy of a shared bucket: who tells it, and who waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};

use super::super::backed::wall_clock;
use super::super::{BucketServer, Deciding, Task};
use super::Shared;
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::Caller;
use crate::store::{All, Hears, Key, News, Own};
use crate::sync::lock;
use crate::time::{Deadline, Timeout};

/// How far a copy is.
#[derive(Default)]
struct Progress {
    /// All that was there when it began is in it.
    is_current: bool,
    revision: u64,
    /// How often it was told anew and was no further than before.
    went_back: u64,
    has_ended: bool,
}

/// What is known of a store's copy, and of the store's reach.
#[derive(Default)]
pub(in crate::bucket) struct Copied {
    progress: Mutex<Progress>,
    moved: Condvar,
    is_away: AtomicBool,
}

impl Copied {
    pub(in crate::bucket) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    pub(in crate::bucket) fn end(&self) {
        lock(&self.progress).has_ended = true;
        self.moved.notify_all();
    }

    fn comes_to(&self, revision: u64, is_current: bool) {
        let mut progress = lock(&self.progress);
        progress.went_back += u64::from(is_current && revision < progress.revision);
        progress.revision = match is_current {
            true => revision,
            false => progress.revision.max(revision),
        };
        progress.is_current |= is_current;
        drop(progress);
        self.moved.notify_all();
    }

    fn wait_until(
        &self,
        deadline: &Deadline,
        is_there: impl Fn(&Progress) -> bool,
    ) -> Result<(), Error> {
        let mut progress = lock(&self.progress);
        loop {
            if progress.has_ended {
                return Err(Error::ServerDown);
            }
            if is_there(&progress) {
                return Ok(());
            }
            progress = match deadline.left() {
                None => self
                    .moved
                    .wait(progress)
                    .unwrap_or_else(|it| it.into_inner()),
                Some(left) if left.is_zero() => return Err(Error::Timeout),
                Some(left) => {
                    let waited = self.moved.wait_timeout(progress, left);
                    waited.unwrap_or_else(|it| it.into_inner()).0
                }
            };
        }
    }

    /// Waits until the copy has this revision, or the store has none of those any more; at once where
    /// there is no copy.
    pub(super) fn await_revision(&self, revision: u64, deadline: &Deadline) -> Result<(), Error> {
        let before = lock(&self.progress).went_back;
        self.wait_until(deadline, |it| {
            !it.is_current || it.revision >= revision || it.went_back != before
        })
    }

    fn await_current(&self, deadline: &Deadline) -> Result<(), Error> {
        self.wait_until(deadline, |it| it.is_current)
    }
}

/// Hears what becomes of a store.
pub(in crate::bucket) struct StoreEar {
    pub(in crate::bucket) server: Weak<BucketServer>,
    pub(in crate::bucket) copied: Arc<Copied>,
}

impl Hears for StoreEar {
    fn hear(&self, news: News<'_>) {
        match news {
            News::Reach { is_away } => {
                self.copied.is_away.store(is_away, Ordering::Release);
                if let Some(server) = self.server.upgrade() {
                    server.state().contents.watching().wake_all();
                }
            }
            News::Deleted => {
                let server = Weak::clone(&self.server);
                end_later(&server, Exit::new(Reason::Shutdown, "deleted"));
            }
            _ => {}
        }
    }
}

/// Not on a thread of the store's, which waits for that one.
fn end_later(server: &Weak<BucketServer>, exit: Exit) {
    if let Some(server) = server.upgrade() {
        let system = server.system();
        system.threads().spawn_blocking(move || server.end(exit));
    }
}

/// Hears what a store has and what changes.
struct CopyEar {
    server: Weak<BucketServer>,
    copied: Arc<Copied>,
    reads_copy: bool,
    /// What is told anew, until it is whole.
    anew: Mutex<Option<All>>,
    /// It lacks something, and is none any more.
    is_broken: AtomicBool,
}

impl CopyEar {
    /// Where a key lies in the copy.
    fn place(&self) -> fn(&[u8]) -> Key<'_> {
        match self.reads_copy {
            true => |key| Key::new(key),
            false => |key| Key::new(key).aside(),
        }
    }

    /// Keeps what is told anew; `false` if it is a change.
    #[cold]
    fn is_anew(&self, news: &News<'_>) -> Result<bool, Error> {
        let mut anew = lock(&self.anew);
        let Some(all) = &mut *anew else {
            return Ok(false);
        };
        match news {
            News::Put(loaded) => {
                let key = super::super::copy_key(loaded.key)?;
                all.insert(key, Own::of(loaded)?);
            }
            News::Gone { key, .. } => drop(all.remove(*key)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    #[cold]
    fn take(&self, server: &Arc<BucketServer>, news: &News<'_>) -> Result<(), Error> {
        if self.is_anew(news)? {
            return Ok(());
        }
        let (place, never) = (self.place(), Timeout::Never.deadline());
        match *news {
            News::Reset => *lock(&self.anew) = Some(All::new()),
            News::Current(revision) => {
                let all = lock(&self.anew).take().unwrap_or_default();
                server.with_write_lock_before(never, |write| {
                    let contents = write.exclusive();
                    contents.replace_all(&all, revision, wall_clock(), place)
                })??;
                self.copied.comes_to(revision, true);
            }
            News::Put(loaded) => {
                let key = place(loaded.key);
                server.with_write_lock_before(never, |write| {
                    write.exclusive().mirror_put(key, &loaded, wall_clock())
                })??;
                self.copied.comes_to(loaded.revision, false);
            }
            News::Gone {
                key,
                revision,
                is_expired,
            } => {
                let key = place(key);
                server.with_write_lock_before(never, |write| {
                    write.exclusive().mirror_gone(key, revision, is_expired);
                })?;
                self.copied.comes_to(revision, false);
            }
            News::Reach { .. } | News::Deleted => {}
            News::Unreadable => {
                return Err(Error::Io {
                    what: "a store that tells what is no change",
                    code: None,
                })
            }
        }
        Ok(())
    }
}

impl Hears for CopyEar {
    fn hear(&self, news: News<'_>) {
        let Some(server) = self.server.upgrade().filter(|it| !it.has_ended()) else {
            return;
        };
        if self.is_broken.load(Ordering::Relaxed) {
            return;
        }
        match self.take(&server, &news) {
            Ok(()) | Err(Error::NoProcess | Error::ServerDown) => {}
            Err(refused) => {
                self.is_broken.store(true, Ordering::Relaxed);
                let detail = format!("the copy of its store failed: {refused}");
                end_later(&self.server, Exit::new(Reason::Crashed, &detail));
            }
        }
    }
}

/// Each as `BucketState` of the module's server.
impl BucketServer {
    /// Has a copy, and waits until all that is there is in it.
    #[cold]
    pub(in crate::bucket) fn copy_store(
        self: &Arc<Self>,
        shared: &Shared,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        let mut watch = lock(&shared.watch);
        if watch.is_none() {
            let ear = CopyEar {
                server: Arc::downgrade(self),
                copied: Arc::clone(&shared.copied),
                reads_copy: shared.reads_copy,
                anew: Mutex::default(),
                is_broken: AtomicBool::new(false),
            };
            *watch = Some(shared.store()?.counted()?.watch(Arc::new(ear))?);
        }
        drop(watch);
        shared.copied.await_current(deadline)
    }

    /// What watches need, of whatever bucket.
    #[cold]
    pub(in crate::bucket) fn copy_for_watches(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<(), Error> {
        let Some(shared) = self.shared() else {
            return Ok(());
        };
        let deadline = self.begin_shared(caller)?;
        let copied = self.copy_store(shared, &deadline);
        self.shared_answer(copied)
    }

    /// Waits, where reads are those of a copy, until it has a change of this thread's. If it does not
    /// come in time, later reads of the thread wait for it: by a task of the mailbox.
    #[cold]
    pub(super) fn await_copy_of(
        self: &Arc<Self>,
        shared: &Shared,
        revision: u64,
        deadline: &Deadline,
    ) {
        if !shared.reads_copy {
            return;
        }
        let copied = &shared.copied;
        if let Err(Error::Timeout) = copied.await_revision(revision, deadline) {
            let copied = Arc::clone(copied);
            let run = move |_turn: Deciding| {
                let _ = copied.await_revision(revision, &Timeout::Never.deadline());
            };
            // Refused if it has ended, or is full of such: the change was made all the same.
            let _ = self.cast_task(Task {
                key: Box::default(),
                run: Box::new(run),
            });
        }
    }
}
