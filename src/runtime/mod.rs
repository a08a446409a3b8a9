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
pub(crate) use fork::{current, current_or_made, inherited, lineage, publish, watch_forks};
pub(crate) use fork::{Base, Beginning};
pub(crate) use panic::{contain, install_hook, is_own_thread};
use pool::Pool;
use spawn::Started;
pub(crate) use threads::{ThreadOptions, Threads};

type Job = Box<dyn FnOnce() + Send>;

/// Before a thread that the system has refused is asked for again.
const REFUSED_THREAD: Duration = Duration::from_millis(50);

struct Runtime {
    tokio: Handle,
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

impl Runtime {
    /// Starts the workers, or none of them.
    fn start(options: &ThreadOptions) -> io::Result<Runtime> {
        let alive = Arc::new(Alive::default());
        let name = &options.name;
        let drains = Arc::new(Drains::new(options.after_work));
        let (tokio, first) = driver::start(name, &alive, &drains)?;
        let runtime = Runtime {
            tokio: tokio.handle().clone(),
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
        if self.pool.push(work) {
            let pool = Arc::clone(&self.pool);
            self.tokio.spawn(async move {
                loop {
                    tokio::time::sleep(REFUSED_THREAD).await;
                    if pool.asks_again() {
                        return;
                    }
                }
            });
        }
    }

    /// Has the threads leave, and waits for them. `false` if some had not left in time: they are
    /// left alone. What none of them had begun is dropped.
    fn stop(&self, timeout: Option<Duration>) -> bool {
        self.drains.stop();
        let threads = self.pool.stop();
        let have_left = self.alive.wait_for_none(timeout);
        self.drains.clear();
        if !have_left {
            return false;
        }
        let workers = std::mem::take(&mut *lock(&self.workers));
        // All have only to return.
        for thread in workers.into_iter().chain(threads) {
            thread.join();
        }
        true
    }
}
