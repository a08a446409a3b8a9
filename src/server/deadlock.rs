//! WaitGraph: servers that would wait for each other for ever (G8).
//!
//! Only a thread that holds a turn with user code can be waited for, so only such threads
//! enter here, and only when they are about to wait. Each leaves an edge "this thread waits
//! for that server"; a server leads on to the thread inside its turn. Edges are added and
//! followed under one lock, so of the threads that would close a circle the last one sees all
//! the others' edges, and it is told instead of waiting. Who occupies a turn is written
//! before that thread can wait, so the lock orders it too; a thread in a circle cannot leave
//! its turn, so what is read along a true circle is stable. The lock is held for a walk and
//! never while waiting.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::sync::{lock, Arc, Mutex};

/// A server, as far as circles are concerned.
pub(crate) trait Waitable: Send + Sync {
    /// The thread whose user code has the turn, or 0.
    fn turn_owner(&self) -> u64;
}

/// By thread, for which server it waits.
type Waiting = BTreeMap<u64, Arc<dyn Waitable>>;

pub(crate) struct WaitGraph {
    waiting: Mutex<Waiting>,
}

impl WaitGraph {
    pub(crate) fn new() -> WaitGraph {
        WaitGraph {
            waiting: Mutex::new(BTreeMap::new()),
        }
    }

    /// Notes that `thread` waits for `server` as long as the edge lives, or answers
    /// [`Error::CallingSelf`] if that would close a circle.
    pub(crate) fn wait_for(
        &self,
        thread: u64,
        server: Arc<dyn Waitable>,
    ) -> Result<Edge<'_>, Error> {
        let mut waiting = lock(&self.waiting);
        if leads_to(&waiting, &*server, thread) {
            return Err(Error::CallingSelf);
        }
        waiting.insert(thread, server);
        Ok(Edge {
            deadlock: self,
            thread,
        })
    }

    /// Whether `thread` would close a circle by waiting for `server` now.
    pub(crate) fn would_close(&self, thread: u64, server: &dyn Waitable) -> bool {
        leads_to(&lock(&self.waiting), server, thread)
    }

    /// The thread has what it waited for, though it may not know it yet. Called by who gave it
    /// that, with the lock of the server, which `wait_for` does not take.
    pub(crate) fn forget(&self, thread: u64) {
        let server = lock(&self.waiting).remove(&thread);
        drop(server); // outside the lock, and not the last: the thread knows the server
    }
}

/// Whether `thread` occupies the server, or one that its occupant waits for, and so on.
fn leads_to(waiting: &Waiting, server: &dyn Waitable, thread: u64) -> bool {
    let mut occupant = server.turn_owner();
    // A walk visits each waiting thread at most once, unless others made a circle that they are
    // just being told about.
    for _ in 0..=waiting.len() {
        if occupant == thread {
            return true;
        }
        match waiting.get(&occupant) {
            Some(next) => occupant = next.turn_owner(),
            None => break,
        }
    }
    false
}

/// A thread that waits; see [`WaitGraph::wait_for`].
pub(crate) struct Edge<'a> {
    deadlock: &'a WaitGraph,
    thread: u64,
}

impl Drop for Edge<'_> {
    fn drop(&mut self) {
        let server = lock(&self.deadlock.waiting).remove(&self.thread);
        drop(server); // outside the lock: it may be the last one to know the server
    }
}
