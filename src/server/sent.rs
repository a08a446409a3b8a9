//! What a thread knows of the casts that it has queued; see `thread.rs`.

use crate::sync::{Arc, AtomicU64, Ordering};

/// The last cast of a thread that was queued at a server.
pub(super) struct Sent {
    pub(super) progress: Arc<Progress>,
    pub(super) number: u64,
}

impl Sent {
    /// Whether it was sent to the server at this address.
    pub(super) fn is_to(&self, server: usize) -> bool {
        self.progress.server == server
    }

    pub(super) fn is_of(&self, progress: &Arc<Progress>) -> bool {
        Arc::ptr_eq(&self.progress, progress)
    }

    /// Acquire: who learns that a cast was handled sees what it did.
    pub(super) fn is_done(&self) -> bool {
        self.progress.done.load(Ordering::Acquire) > self.number
    }
}

/// How far a server is with its mail, for those who sent it.
pub(super) struct Progress {
    /// The address of the server.
    server: usize,
    /// All envelopes numbered below are handled, or dropped and the state is closed.
    done: AtomicU64,
}

impl Progress {
    pub(super) fn new(server: usize, done: u64) -> Progress {
        Progress {
            server,
            done: AtomicU64::new(done),
        }
    }

    /// Tells how far it is, if it was not further. Called under the server's lock. Release: see
    /// `Sent::is_done`.
    pub(super) fn tell(&self, done: u64) {
        if self.done.load(Ordering::Relaxed) < done {
            self.done.store(done, Ordering::Release);
        }
    }
}

/// Which envelope of a server the calling thread's reads there wait for.
pub(super) enum LastSent {
    None,
    /// That of this number.
    Number(u64),
    /// The queue has to say.
    Unknown,
}
