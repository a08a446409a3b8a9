//! What concerns the whole process: options, and its end.

use std::sync::atomic::{fence, Ordering};
use std::sync::Arc;

use crate::bucket::BucketServer;
use crate::error::Error;
use crate::inbox::InboxCore;
use crate::listener::ListenerCore;
use crate::log::escaped;
use crate::process::{Ended, Ends, Options, Process};
use crate::reason::{Exit, Reason};
use crate::reclaim;
use crate::registry::Supervisor;
use crate::runtime::is_own_thread;
use crate::server::Thread;
use crate::time::Timeout;
use crate::user_server::UserServer;

/// The version of the library, "major.minor.patch".
///
/// ```
/// assert_eq!(kvreg::version().split('.').count(), 3);
/// ```
#[must_use]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Sets what holds for the whole process, before anything else is started; afterwards, and a
/// second time, [`Error::AlreadyStarted`]. It need not be called. Starts nothing.
///
/// ```
/// use kvreg::{configure, Error, Options};
///
/// configure(Options::new().worker_threads(1))?;
/// assert_eq!(configure(Options::new()), Err(Error::AlreadyStarted));
/// # Ok::<(), Error>(())
/// ```
pub fn configure(options: Options) -> Result<(), Error> {
    if Process::if_any().is_some_and(Process::is_shut_down) {
        return Err(Error::ShutDown);
    }
    options.check()?;
    Process::with_memory()?;
    Process::configure(options)
}

/// Ends everything; `end_handles` ends those of the C interface. If callbacks were still running
/// when the time was up, they are left alone: the answer is a text that names their buckets.
pub(crate) fn shut_down(
    timeout: Timeout,
    end_handles: impl FnOnce(&'static Process),
) -> Result<Option<String>, Error> {
    let process = Process::running()?;
    // A destructor that runs on a thread of the library's may be in no turn: it would wait for
    // its own thread.
    if Thread::holds_a_turn() || is_own_thread() {
        return Err(Error::CallingSelf);
    }
    let deadline = timeout.deadline();
    process.user_servers().end_in_order(&deadline);
    if !process.begin_shut_down() {
        return Err(Error::ShutDown);
    }
    // With the fence of who makes a handle: one that is being made is ended there or here.
    fence(Ordering::SeqCst);
    for registry in process.registries().names().all() {
        registry.registry().end(shutdown());
    }
    process.end_started(Ended::First);
    end_handles(process);
    process.end_started(Ended::Last);
    reclaim::tidy_all();
    if process.stop_threads(deadline.left()) {
        return Ok(None);
    }
    let stuck = process.buckets().running_callbacks();
    let names = stuck.iter().map(|name| format!("\"{}\"", escaped(name)));
    let names = names.collect::<Vec<_>>().join(", ");
    let text = format!("callbacks are still running in these buckets: {names}");
    process.logs().warn(None, &text);
    Ok(Some(text))
}

fn shutdown() -> Exit {
    Exit::new(Reason::Shutdown, "the library was shut down")
}

impl Ends for Supervisor {
    fn end_for_shutdown(self: Arc<Self>) {
        self.registry().end(shutdown());
    }
}

impl Ends for BucketServer {
    fn end_for_shutdown(self: Arc<Self>) {
        self.end(shutdown());
    }
}

impl Ends for UserServer {
    fn end_for_shutdown(self: Arc<Self>) {
        self.end(shutdown());
    }
}

impl Ends for ListenerCore {
    fn end_for_shutdown(self: Arc<Self>) {
        self.stop_later();
    }
}

impl Ends for InboxCore {
    fn end_for_shutdown(self: Arc<Self>) {
        self.close();
    }
}
