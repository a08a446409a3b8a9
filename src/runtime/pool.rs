//! Threads for user code: one for each piece of work that none is free for, up to a limit; a
//! thread that finds nothing to do for a while leaves.
//!
//! # The argument
//!
//! All of it is under one lock. A thread is idle from the moment it was started, or has come back,
//! until it takes work; each idle thread takes a piece before it may leave. So as long as no more
//! work waits than threads are idle, all of it will be begun. Work that finds too few asks for one
//! more thread. If the system refuses that, somebody asks again and again (`asks_again`), until a
//! thread came, or others took the work: one who asks is enough, and there is one as long as work
//! waits that no idle thread will take, unless the limit is reached. There every thread is busy
//! with work that came before, and takes more when it is done.
//!
//! Handles of threads that left are joined by the next that leaves, and the last one's by `stop`:
//! whoever has stopped the pool knows of no thread that may still be there.

use std::collections::{BTreeMap, LinkedList};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::alive::Alive;
use super::spawn::Started;
use super::{run, Job, ThreadOptions};
use crate::sync::lock;

/// How long a thread waits for more work.
const KEPT: Duration = Duration::from_secs(10);

pub(super) struct Pool {
    name: String,
    limit: usize,
    after_work: fn(),
    alive: Arc<Alive>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Each piece for itself, as of the drains.
    waiting: LinkedList<Job>,
    idle: usize,
    /// By number. Those of threads that are there.
    threads: BTreeMap<usize, Started>,
    next: usize,
    /// The last that left.
    left: Option<Started>,
    /// Somebody asks again for a thread that was refused.
    is_asking: bool,
    is_stopped: bool,
}

impl State {
    fn has_too_few(&self, limit: usize) -> bool {
        self.waiting.len() > self.idle && self.threads.len() < limit && !self.is_stopped
    }
}

impl Pool {
    pub(super) fn new(options: &ThreadOptions, alive: &Arc<Alive>) -> Arc<Pool> {
        Arc::new(Pool {
            name: options.name.clone(),
            limit: options.callbacks,
            after_work: options.after_work,
            alive: Arc::clone(alive),
            state: Mutex::default(),
            news: Condvar::new(),
        })
    }

    /// `true` if a thread was refused, and the caller is to see to it that it is asked for again.
    /// Drops the work if the pool is stopped.
    pub(super) fn push(self: &Arc<Self>, work: Job) -> bool {
        let mut state = lock(&self.state);
        if state.is_stopped {
            drop(state);
            drop(work); // outside the lock: it may be the user's
            return false;
        }
        state.waiting.push_back(work);
        if state.waiting.len() <= state.idle {
            self.news.notify_one();
            return false;
        }
        if state.is_asking || self.start_threads(&mut state) {
            return false;
        }
        state.is_asking = true;
        true
    }

    /// Asks for the threads that were refused; `true` if no more are needed.
    pub(super) fn asks_again(self: &Arc<Self>) -> bool {
        let mut state = lock(&self.state);
        let has_enough = self.start_threads(&mut state);
        state.is_asking = !has_enough;
        has_enough
    }

    /// `false` if the system refuses one.
    fn start_threads(self: &Arc<Self>, state: &mut State) -> bool {
        while state.has_too_few(self.limit) {
            let (pool, number) = (Arc::clone(self), state.next);
            let Ok(thread) = self.alive.spawn(&self.name, move || pool.serve(number)) else {
                return false;
            };
            state.next += 1;
            state.idle += 1;
            state.threads.insert(number, thread);
        }
        true
    }

    /// What each thread does.
    fn serve(&self, number: usize) {
        let mut state = lock(&self.state);
        let mut since = Instant::now();
        loop {
            if state.is_stopped {
                return;
            }
            if let Some(work) = state.waiting.pop_front() {
                state.idle -= 1;
                drop(state);
                run(work, self.after_work);
                since = Instant::now();
                state = lock(&self.state);
                state.idle += 1;
                continue;
            }
            let Some(left) = KEPT.checked_sub(since.elapsed()) else {
                break;
            };
            let waited = self.news.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.idle -= 1;
        let mine = state.threads.remove(&number);
        let before = std::mem::replace(&mut state.left, mine);
        drop(state);
        if let Some(before) = before {
            before.join(); // it has only to return
        }
    }

    /// From here on no work is begun. What waited is dropped; the threads leave as they finish,
    /// and are the caller's to join.
    pub(super) fn stop(&self) -> impl Iterator<Item = Started> {
        let mut state = lock(&self.state);
        state.is_stopped = true;
        self.news.notify_all();
        let waiting = std::mem::take(&mut state.waiting);
        let left = state.left.take();
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        drop(waiting); // outside the lock: it may be the user's
        threads.into_values().chain(left)
    }
}
