//! What all servers of a process share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::deadlock::{Edge, WaitGraph, Waitable};
use crate::error::Error;
use crate::reclaim::Domain;
use crate::runtime::{Base, Threads};
use crate::sync::Arc;

/// It begins with the state of the floor below.
#[repr(C)]
pub(crate) struct System {
    domain: Domain,
    wait_graph: WaitGraph,
    references: AtomicU64,
}

impl System {
    pub(crate) fn new(domain: Domain) -> System {
        System {
            domain,
            wait_graph: WaitGraph::new(),
            references: AtomicU64::new(1),
        }
    }

    pub(crate) fn domain(&self) -> &Domain {
        &self.domain
    }

    pub(crate) fn base(&self) -> &Base {
        self.domain.base()
    }

    pub(crate) fn threads(&self) -> &Threads {
        self.base().threads()
    }

    pub(super) fn wait_graph(&self) -> &WaitGraph {
        &self.wait_graph
    }

    /// The thread of this number waits for no turn, though it may not know it yet.
    pub(crate) fn wait_graph_forget(&self, thread: u64) {
        self.wait_graph.forget(thread);
    }

    /// Notes that the calling thread, which holds a turn, waits for a server until the answer is
    /// dropped; refused if that would close a circle.
    pub(crate) fn waits_for(&self, server: Arc<dyn Waitable>) -> Result<Edge<'_>, Error> {
        self.wait_graph.wait_for(super::Thread::id(), server)
    }

    /// A number for a monitor, never given twice.
    pub(crate) fn next_reference(&self) -> u64 {
        self.references.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether this is the system of the process that runs, and not of one that it forked from.
    pub(crate) fn is_current(&self) -> bool {
        self.base().is_current()
    }
}
