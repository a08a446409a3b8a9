//! Requests that have to wait, on few threads.
//!
//! To wait for a bucket takes a thread. A listener has at most [`THREADS`] for it, however many
//! requests wait: those for one bucket stand in a line, and the first of them has the thread.
//! When it is done the next one tries again without a thread, so a bucket that is free again is
//! soon through with its line.
//!
//! If every thread waits for another bucket, the first in a line looks each [`LOOK`] whether its
//! own is free. So a request waits no longer for other buckets' sake than that, and a request
//! that finds its bucket free waits for nobody.
//!
//! A thread's place and the place in the line go with the question: a connection that is closed
//! meanwhile gives neither back before the thread is done.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, Mutex as Line, Semaphore};
use tokio::time::{timeout_at, Instant};

use crate::error::Error;
use crate::reclaim;
use crate::registry::RegistryServer;
use crate::registry::Supervisor;
use crate::server::Caller;
use crate::sync::lock;
use crate::time::Timeout;

/// The most threads that wait for a listener's requests.
const THREADS: usize = 16;

/// How often a request looks for itself that gets no thread.
const LOOK: Duration = Duration::from_millis(50);

/// Far beyond what anybody waits: for ever.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

pub(super) struct Waiting {
    threads: Arc<Semaphore>,
    /// Of the buckets that are waited for; a line is there while anybody stands in it.
    lines: Mutex<HashMap<Box<[u8]>, Standing>>,
}

/// A line, and how many stand in it.
#[derive(Default)]
struct Standing {
    line: Arc<Line<()>>,
    count: usize,
}

/// A place in a line, whether at its head or not.
struct Place {
    waiting: Arc<Waiting>,
    bucket: Box<[u8]>,
    line: Arc<Line<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = lock(&self.waiting.lines);
        if let Some(standing) = lines.get_mut(&self.bucket) {
            standing.count -= 1;
            if standing.count == 0 {
                lines.remove(&self.bucket);
            }
        }
    }
}

impl Waiting {
    pub(super) fn new() -> Arc<Waiting> {
        Arc::new(Waiting {
            threads: Arc::new(Semaphore::new(THREADS)),
            lines: Mutex::default(),
        })
    }

    fn join(self: &Arc<Waiting>, bucket: &[u8]) -> Place {
        let mut lines = lock(&self.lines);
        let standing = lines.entry(bucket.into()).or_default();
        standing.count += 1;
        Place {
            waiting: Arc::clone(self),
            bucket: bucket.into(),
            line: Arc::clone(&standing.line),
        }
    }
}

/// What is asked of the registry, as often as it takes to be answered.
pub(super) trait Question<R>:
    Fn(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Error> + Send + 'static
{
}

impl<R, Q> Question<R> for Q where
    Q: Fn(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Error> + Send + 'static
{
}

/// Asks without waiting; `None` if that cannot be. So too if the registry has ended: who meets
/// its end helps it along, and may run the user's destructors.
pub(super) fn ask_now<R>(
    supervisor: &Supervisor,
    question: &impl Question<R>,
) -> Option<Result<R, Error>> {
    let registry = supervisor.registry();
    if registry.has_ended() {
        return None;
    }
    let answer = question(&registry, &mut Caller::new(Timeout::Now));
    reclaim::tidy();
    match answer {
        Err(Error::Timeout) => None,
        answer => Some(answer),
    }
}

/// Asks what could not be asked at once, of this bucket: waits as long as a call does.
pub(super) async fn ask<R: Send + 'static>(
    waiting: &Arc<Waiting>,
    supervisor: &Arc<Supervisor>,
    bucket: &[u8],
    question: impl Question<R>,
) -> Result<R, Error> {
    let around = supervisor.around();
    let timeout = Timeout::from_millis(around.default_timeout_ms)?;
    let begun = Instant::now();
    let deadline = match timeout {
        Timeout::After(wait) => begun.checked_add(wait),
        Timeout::Now => Some(begun),
        Timeout::Never => None,
    };
    let until = deadline.unwrap_or(begun + FOR_EVER);

    let place = waiting.join(bucket);
    let head = timeout_at(until, Arc::clone(&place.line).lock_owned()).await;
    let head = head.map_err(|_| Error::Timeout)?;

    let thread = Arc::clone(&waiting.threads).acquire_owned();
    tokio::pin!(thread);
    let thread = loop {
        if let Some(answered) = ask_now(supervisor, &question) {
            return answered;
        }
        if Instant::now() >= until {
            return Err(Error::Timeout);
        }
        if let Ok(thread) = timeout_at(until.min(Instant::now() + LOOK), &mut thread).await {
            break thread.map_err(|_| Error::ShutDown)?;
        }
    };

    let (answer, mut answered) = oneshot::channel();
    let registry = supervisor.registry();
    // Set by who comes first: the thread that asks, or the time that was too short to have one.
    let is_taken = Arc::new(AtomicBool::new(false));
    let may_ask = Arc::clone(&is_taken);
    around.system().threads().spawn_blocking(move || {
        if may_ask.swap(true, Ordering::AcqRel) {
            return;
        }
        let left = match deadline {
            Some(until) => Timeout::After(until.saturating_duration_since(Instant::now())),
            None => Timeout::Never,
        };
        let _ = answer.send(question(&registry, &mut Caller::new(left)));
        reclaim::tidy();
        drop((head, place, thread));
    });
    let answer = match timeout_at(until, &mut answered).await {
        Err(_) if !is_taken.swap(true, Ordering::AcqRel) => return Err(Error::Timeout),
        Err(_) => answered.await,
        Ok(answer) => answer,
    };
    answer.unwrap_or(Err(Error::ShutDown))
}
