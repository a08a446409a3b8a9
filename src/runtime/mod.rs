//! The library's own threads: workers, which drain mailboxes and drive tokio, and threads for
//! user code, which may take its time.
//!
//! # The argument
//!
//! The system may refuse any thread at any moment, and tokio cannot undo a runtime of which only
//! some threads came: it waits for those that did. So kvreg starts all threads itself, by a call
//! that answers an error, and tokio makes none. Its runtime is the one that needs no thread of its
//! own (`driver.rs`): each worker runs [`Drains::serve`] on it, one of them has tokio's driver at a
//! time and sees to timers and sockets too, and when that one leaves another takes the driver over.
//!
//! Either all workers come or none stays: those that did are told to leave, which they do at once,
//! for nothing was given to them yet. A thread for user code that is refused is asked for again
//! until there is one or the work was done by another (`pool.rs`).
//!
//! User code that can wait a moment is listed, and one thread comes for all of the list when that
//! moment is over (`Soon`): it is called by who finds the list without one, so what is listed has
//! one who comes.

mod alarm;
mod alive;
mod driver;
pub(crate) mod files;
mod fork;
mod panic;
pub(crate) mod platform;
mod pool;
mod spawn;
pub(crate) mod thread_end;
mod threads;

use std::collections::LinkedList;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::sync::lock;

pub(crate) use alarm::Alarm;
use alive::Alive;
pub(crate) use fork::{
    call_in_children, current, current_or_made, inherited, lineage, publish, watch_forks,
};
pub(crate) use fork::{Base, Beginning};
pub(crate) use panic::{contain, install_hook, is_own_thread};
use pool::Pool;
use spawn::Started;
pub(crate) use threads::{ThreadOptions, Threads};

type Job = Box<dyn FnOnce() + Send>;

/// Before a thread that the system has refused is asked for again.
const REFUSED_THREAD: Duration = Duration::from_millis(50);

/// How long user code waits that others may make needless.
const SOON: Duration = Duration::from_micros(50);

/// User code that can wait a moment.
#[derive(Default)]
struct Soon {
    waiting: LinkedList<Job>,
    /// Somebody comes for what waits.
    is_coming: bool,
}

impl Soon {
    /// Takes all that waits; the next is to call somebody anew.
    fn take(soon: &Mutex<Soon>) -> LinkedList<Job> {
        std::mem::take(&mut *lock(soon)).waiting
    }
}

struct Runtime {
    tokio: Handle,
    soon: Arc<Mutex<Soon>>,
    drains: Arc<Drains>,
    workers: Mutex<Vec<Started>>,
    pool: Arc<Pool>,
    alive: Arc<Alive>,
}

/// What the workers share: whoever is free takes the next drain.
struct Drains {
    after_work: fn(),
    /// Each piece for itself: to queue one must not fail, and one large block might.
    waiting: Mutex<LinkedList<Job>>,
    news: Notify,
    is_stopping: AtomicBool,
}

impl Drains {
    fn new(after_work: fn()) -> Drains {
        Drains {
            after_work,
            waiting: Mutex::default(),
            news: Notify::new(),
            is_stopping: AtomicBool::new(false),
        }
    }

    fn push(&self, drain: Job) {
        let mut waiting = lock(&self.waiting);
        if self.is_stopping() {
            drop(waiting);
            drop(drain); // outside the lock: it may be the last to know a server
            return;
        }
        waiting.push_back(drain);
        drop(waiting);
        self.news.notify_one();
    }

    fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.news.notify_waiters();
    }

    /// Once the workers have left, or are left alone.
    fn clear(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        drop(waiting);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    async fn serve(&self) {
        loop {
            // Made before the look: what comes after it is heard.
            let news = self.news.notified();
            while !self.is_stopping() {
                let Some(drain) = lock(&self.waiting).pop_front() else {
                    break;
                };
                run(drain, self.after_work);
                tokio::task::yield_now().await; // the driver has its turn
            }
            if self.is_stopping() {
                return;
            }
            news.await;
        }
    }
}

/// A panic is the work's own affair.
fn run(work: Job, after_work: fn()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
    after_work();
}

/// Gives user code to the pool, and sees to it that a thread that was refused is asked for again.
fn spawn_on(pool: &Arc<Pool>, tokio: &Handle, work: Job) {
    if pool.push(work) {
        let pool = Arc::clone(pool);
        tokio.spawn(async move {
            loop {
                tokio::time::sleep(REFUSED_THREAD).await;
                if pool.asks_again() {
                    return;
                }
            }
        });
    }
}

impl Runtime {
    /// Starts the workers, or none of them.
    fn start(options: &ThreadOptions) -> io::Result<Runtime> {
        let alive = Arc::new(Alive::default());
        let name = &options.name;
        let drains = Arc::new(Drains::new(options.after_work));
        let (tokio, first) = driver::start(name, &alive, &drains)?;
        let runtime = Runtime {
            tokio: tokio.handle().clone(),
            soon: Arc::default(),
            drains,
            workers: Mutex::new(vec![first]),
            pool: Pool::new(options, &alive),
            alive,
        };
        for _ in 1..options.workers {
            let (tokio, drains) = (Arc::clone(&tokio), Arc::clone(&runtime.drains));
            match runtime.alive.spawn(name, move || tokio.serve(&drains)) {
                Ok(worker) => lock(&runtime.workers).push(worker),
                Err(refused) => {
                    runtime.stop(None);
                    return Err(refused);
                }
            }
        }
        Ok(runtime)
    }

    fn tokio(&self) -> &Handle {
        &self.tokio
    }

    /// For kvreg's own work, which waits for nothing.
    fn spawn(&self, drain: Job) {
        self.drains.push(drain);
    }

    /// For user code.
    fn spawn_blocking(&self, work: Job) {
        spawn_on(&self.pool, &self.tokio, work);
    }

    /// For user code that can wait a moment, in which others may have done it.
    fn spawn_soon(&self, work: Job) {
        {
            let mut soon = lock(&self.soon);
            soon.waiting.push_back(work);
            if std::mem::replace(&mut soon.is_coming, true) {
                return;
            }
        }
        let soon = Arc::clone(&self.soon);
        let (pool, tokio) = (Arc::clone(&self.pool), self.tokio.clone());
        self.spawn_blocking(Box::new(move || {
            std::thread::sleep(SOON);
            let mut all = Soon::take(&soon);
            let last = all.pop_back();
            for work in all {
                spawn_on(&pool, &tokio, work);
            }
            if let Some(work) = last {
                work();
            }
        }));
        if self.drains.is_stopping() {
            drop(Soon::take(&self.soon)); // nobody may come any more
        }
    }

    /// Has the threads leave, and waits for them. `false` if some had not left in time: they are
    /// left alone. What none of them had begun is dropped.
    fn stop(&self, timeout: Option<Duration>) -> bool {
        self.drains.stop();
        let threads = self.pool.stop();
        let have_left = self.alive.wait_for_none(timeout);
        self.drains.clear();
        drop(Soon::take(&self.soon));
        if !have_left {
            return false;
        }
        let workers = std::mem::take(&mut *lock(&self.workers));
        // All have only to return; for the loader to let them go is not waited for in its hands.
        if !platform::is_told_by_loader() {
            workers.into_iter().chain(threads).for_each(Started::join);
        }
        true
    }
}
