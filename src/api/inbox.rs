//! Inboxes, as Rust programs have them.

use std::fmt;
use std::sync::Arc;

use super::{check_inherited, Bucket, Registry};
use crate::error::Error;
use crate::inbox::{Event, InboxCore, WatchOptions};
use crate::log::Level;
use crate::process::{Ended, Process};
use crate::time::Timeout;

/// An inbox: the mailbox of this program, where it is told of ends and of what is logged. Closed
/// when it is dropped.
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Bucket, Error, Event, Inbox};
///
/// let (bucket, inbox) = (Bucket::start()?, Inbox::open()?);
/// let monitor = inbox.monitor(&bucket)?;
/// bucket.stop()?;
/// let event = inbox.receive(Duration::from_secs(1))?;
/// assert!(matches!(event, Event::Down { reference, .. } if reference == monitor));
/// assert_eq!(inbox.receive(Duration::from_millis(1)), Err(Error::Timeout));
/// # Ok::<(), Error>(())
/// ```
#[must_use = "an inbox that is dropped is closed"]
pub struct Inbox(Arc<InboxCore>);

impl Inbox {
    /// Opens one.
    pub fn open() -> Result<Inbox, Error> {
        let process = Process::starting()?;
        let inbox = Inbox(process.open_inbox());
        process.note_started(Ended::Last, &inbox.0)?;
        Ok(inbox)
    }

    pub(super) fn core(&self) -> Result<&Arc<InboxCore>, Error> {
        check_inherited(self.0.system())?;
        Ok(&self.0)
    }

    /// From now on the end of the bucket gives one DOWN with this reference; at once, reason
    /// NOPROC, if it has ended.
    pub fn monitor(&self, bucket: &Bucket) -> Result<u64, Error> {
        self.core()?.monitor(&bucket.server().as_any())
    }

    /// As [`monitor`](Inbox::monitor), of a registry.
    pub fn monitor_registry(&self, registry: &Registry) -> Result<u64, Error> {
        self.core()?.monitor(&registry.server()?.as_any())
    }

    /// Takes a monitor back; with `flush` no DOWN of it remains.
    pub fn demonitor(&self, reference: u64, flush: bool) -> Result<(), Error> {
        self.core()?.demonitor(reference, flush)
    }

    /// Watches the keys of a bucket that begin with `prefix`: [`Event::Reset`], the present keys as
    /// [`Event::Change`], [`Event::Current`], and then each change, with the reference that this
    /// answers. What is overtaken before it is received may be left out, but never the last change of
    /// a key; who falls behind begins anew with `Reset`, and so does every watch when the bucket is
    /// cleared. The last event is the one DOWN, of reason NOPROC at once if the bucket has ended; what
    /// was not received by then is dropped. Waits, as long as the bucket's handle does, for who
    /// changes the bucket at the moment.
    ///
    /// ```
    /// use kvreg::{Bucket, Event, Inbox, Timeout, Value};
    ///
    /// let (bucket, inbox) = (Bucket::start()?, Inbox::open()?);
    /// bucket.put("user:1", "Ada")?;
    /// let watch = inbox.watch(&bucket, "user:")?;
    /// assert_eq!(inbox.receive_many(Timeout::Never, 10)?.len(), 3); // Reset, user:1, Current
    /// bucket.put("user:2", "Grace")?;
    /// match inbox.receive(Timeout::Never)? {
    ///     Event::Change { reference, key, value, .. } => {
    ///         assert_eq!((reference, &key[..]), (watch, &b"user:2"[..]));
    ///         assert_eq!(value, Value::from("Grace"));
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn watch(&self, bucket: &Bucket, prefix: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.watch_with(bucket, WatchOptions::new().prefix(prefix))
    }

    /// As [`watch`](Inbox::watch), with options.
    pub fn watch_with(&self, bucket: &Bucket, options: WatchOptions) -> Result<u64, Error> {
        let core = self.core()?;
        bucket.call(b"", |server, caller, _| {
            server.watch(caller, core, &options)
        })
    }

    /// Watches the names of a registry's buckets as if they were keys without values: one that is
    /// created or started again is a [`ChangeKind::Put`](crate::ChangeKind::Put), one that has gone
    /// a `Delete`. Otherwise as [`watch`](Inbox::watch). A registry that comes back is not watched
    /// any more.
    pub fn watch_names(&self, registry: &Registry, options: WatchOptions) -> Result<u64, Error> {
        let core = self.core()?;
        registry.call(|server, caller| server.watch_names(caller, core, &options))
    }

    /// Takes a watch back: nothing of it arrives or remains, its DOWN included. An unknown reference
    /// is fine. Never blocks.
    pub fn unwatch(&self, reference: u64) -> Result<(), Error> {
        self.core()?.unwatch(reference)
    }

    /// From now on what is logged at this level, or a more important one, is told here.
    pub fn subscribe_logs(&self, max: Level) -> Result<(), Error> {
        self.core()?.subscribe_logs(max)
    }

    /// The next event. Waits for it as long as it is told to, then [`Error::Timeout`].
    pub fn receive(&self, timeout: impl Into<Timeout>) -> Result<Event, Error> {
        self.core()?.receive(timeout.into())
    }

    /// The next event, as [`receive`](Inbox::receive), and what else waits then; `most` in all, and
    /// one at least.
    pub fn receive_many(
        &self,
        timeout: impl Into<Timeout>,
        most: usize,
    ) -> Result<Vec<Event>, Error> {
        let core = self.core()?;
        let mut events = Vec::new();
        core.receive_many(timeout.into(), most, |event| events.push(event))?;
        Ok(events)
    }

    /// What is readable while events wait, for `poll` and its like. It is the inbox's own: only
    /// to be polled.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// let inbox = kvreg::Inbox::open()?;
    /// assert!(inbox.descriptor()?.as_raw_fd() >= 0);
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    #[cfg(target_os = "linux")]
    pub fn descriptor(&self) -> Result<std::os::fd::BorrowedFd<'_>, Error> {
        let number = self.core()?.polled(crate::inbox::Polled::Descriptor)?;
        // SAFETY: the inbox's own, open as long as it is, which is longer than it is lent. After
        // `shutdown` it stays open for ever.
        Ok(unsafe { std::os::fd::BorrowedFd::borrow_raw(number as i32) })
    }

    #[cfg(feature = "aio")]
    pub(super) fn poll_receive(
        &self,
        place: &mut Option<u64>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<Event, Error>> {
        match self.core() {
            Ok(core) => core.poll_receive(place, context),
            Err(error) => std::task::Poll::Ready(Err(error)),
        }
    }

    #[cfg(feature = "aio")]
    pub(super) fn forget_waker(&self, place: Option<u64>) {
        if self.0.system().is_current() {
            self.0.forget_waker(place);
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if self.0.system().is_current() {
            self.0.close();
        }
    }
}
