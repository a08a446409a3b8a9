//! A registry: a server that knows buckets by name (the guide's `KV.Registry`).
//!
//! It monitors every bucket, from inside: a bucket knows where it is registered, and the
//! first thing its end does is to take its name out, under the registry's `WRITE` alone. So
//! no notice travels, none is late, and a name is gone before anybody can learn of the end
//! (G5). A name is taken out only if it still leads to the bucket that ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::bucket::{Bucket, BucketServer};
use crate::caller::{Caller, Timeout};
use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::server::{Server, State, Turn, Write};
use crate::table::{Closed, Entry, Table, Writer};
use crate::thread::Thread;

/// The longest info, in bytes: it is only logged.
const MESSAGE_LIMIT: usize = 64 << 10;

/// The longest name, in bytes.
pub const NAME_LIMIT: usize = 255;

pub(crate) type RegistryServer = Server<RegistryState>;

pub(crate) struct RegistryState {
    names: Table<Arc<BucketServer>>,
    handles: AtomicUsize,
}

pub(crate) enum Message {
    Create(Box<str>),
    /// Anything else that was sent: unexpected.
    Info(Box<[u8]>),
}

/// A registry runs no user code.
pub(crate) enum Never {}

impl State for RegistryState {
    type Message = Message;
    type Task = Never;

    fn handle(server: &Arc<RegistryServer>, write: &Write<'_>, message: Message) {
        let logs = server.process().logs();
        match message {
            Message::Create(name) => match server.create_now(write, &name) {
                Ok(_) => {}
                Err(error) => logs.error(Some(&name), &format!("not created: {error}")),
            },
            Message::Info(message) => {
                let text = format!(
                    "unexpected message in registry: \"{}\"",
                    message.escape_ascii()
                );
                logs.debug(None, &text);
            }
        }
    }

    fn run(_turn: Turn<RegistryState>, task: Never) {
        match task {}
    }

    /// A registry takes its buckets along.
    fn unregister(server: &Arc<RegistryServer>) {
        let buckets = server.still_anyway(|state, write| state.buckets(write));
        for bucket in buckets {
            bucket.end(Exit::new(Reason::Shutdown, ""));
        }
    }

    /// Those too that were created while the others were ended.
    fn closed(server: &Arc<RegistryServer>) {
        Self::unregister(server);
    }

    fn close(&self, write: &Write<'_>) {
        self.writer(write, &epoch::pin()).close();
    }

    fn ended(server: &Arc<RegistryServer>, exit: &Exit) {
        let process = server.process();
        process.live_registries().fetch_sub(1, Ordering::Relaxed);
        if exit.reason == Reason::Crashed {
            let text = format!("registry crashed: {}", exit.detail);
            process.logs().error(None, &text);
        }
    }

    fn name(&self) -> Option<&str> {
        None
    }
}

impl RegistryState {
    fn writer<'t>(
        &'t self,
        _proof: &'t Write<'_>,
        pinned: &'t Guard,
    ) -> Writer<'t, Arc<BucketServer>> {
        // SAFETY: the names belong to one registry, and only its handlers, and its buckets
        // while they hold its `WRITE`, pass its `Write`, which one thread has at a time.
        unsafe { self.names.writer(pinned) }
    }

    fn buckets(&self, write: &Write<'_>) -> Vec<Arc<BucketServer>> {
        let pinned = epoch::pin();
        let writer = self.writer(write, &pinned);
        let entries = writer.entries().into_iter().flatten();
        entries.map(|found| Arc::clone(found.value())).collect()
    }
}

impl RegistryServer {
    pub(crate) fn start_registry(process: &'static Process) -> Arc<RegistryServer> {
        process.live_registries().fetch_add(1, Ordering::Relaxed);
        Server::start(
            process,
            RegistryState {
                names: Table::new(),
                handles: AtomicUsize::new(0),
            },
        )
    }

    /// The bucket of that name, started if there is none; `exclusive`: only if there is none.
    pub(crate) fn create(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        exclusive: bool,
    ) -> Result<Arc<BucketServer>, Error> {
        self.call(caller, |_, write| match self.create_now(write, name)? {
            (_, false) if exclusive => Err(Error::AlreadyStarted),
            (bucket, _) => Ok(bucket),
        })?
    }

    /// The same without an answer, and without waiting.
    pub(crate) fn create_cast(self: &Arc<Self>, name: &str) -> Result<(), Error> {
        self.cast(Message::Create(name.into()))
    }

    /// The bucket, and whether it was started now.
    fn create_now(
        self: &Arc<Self>,
        write: &Write<'_>,
        name: &str,
    ) -> Result<(Arc<BucketServer>, bool), Error> {
        let pinned = epoch::pin();
        let names = self.state().writer(write, &pinned);
        let found = names
            .get(name.as_bytes())
            .map_err(|Closed| Error::ServerDown)?;
        if let Some(found) = found {
            return Ok((Arc::clone(found.value()), false));
        }
        names.reserve(1)?;
        let registered = (Arc::downgrade(self), name.into());
        let bucket = BucketServer::start_bucket(self.process(), Some(registered));
        let entry = Entry::allocate(name.as_bytes(), Arc::clone(&bucket), b"");
        match entry.and_then(|entry| names.insert(entry)) {
            Ok(_) => Ok((bucket, true)),
            Err(error) => {
                self.process()
                    .live_buckets()
                    .fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The bucket that has the name now. Waits only for casts of the calling thread.
    pub(crate) fn lookup(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<Arc<BucketServer>, Error> {
        self.settle(caller)?;
        match self.state().names.get(name.as_bytes(), &epoch::pin()) {
            Ok(Some(found)) => Ok(Arc::clone(found.value())),
            Ok(None) => Err(Error::NotFound),
            Err(Closed) => Err(Error::NoProcess),
        }
    }

    /// Takes the name out if it leads to this bucket: a newer one of that name stays.
    pub(crate) fn forget(&self, name: &str, bucket: &Arc<BucketServer>) {
        self.still_anyway(|state, write| {
            let pinned = epoch::pin();
            let names = state.writer(write, &pinned);
            let found = names.get(name.as_bytes());
            if let Ok(Some(found)) = found {
                if Arc::ptr_eq(found.value(), bucket) {
                    names.remove(name.as_bytes());
                }
            }
        });
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        self.settle(caller)?;
        let count = self.state().names.len(&epoch::pin());
        count.map_err(|Closed| Error::NoProcess)
    }

    /// A snapshot.
    pub(crate) fn names(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<Vec<String>, Error> {
        self.settle(caller)?;
        self.still(caller, |state, write| {
            let pinned = epoch::pin();
            let entries = state.writer(write, &pinned).entries();
            let names = entries.map_err(|Closed| Error::NoProcess)?;
            Ok(names
                .map(|found| String::from_utf8_lossy(found.key()).into_owned())
                .collect())
        })?
    }

    /// An info: a message that nobody expects. Logged at debug and dropped.
    pub(crate) fn send(self: &Arc<Self>, message: &[u8]) -> Result<(), Error> {
        if message.len() > MESSAGE_LIMIT {
            return Err(Error::InvalidArgument("a message has at most 65536 bytes"));
        }
        self.cast(Message::Info(message.into()))
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub(crate) fn stop_all(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if !self.has_ended() && self.is_inside_a_bucket() {
            return Err(Error::CallingSelf);
        }
        self.stop(caller)
    }

    /// Whether user code of the calling thread has the turn of one of the buckets.
    fn is_inside_a_bucket(&self) -> bool {
        if !Thread::holds_a_turn() {
            return false;
        }
        let buckets = self.still_anyway(|state, write| state.buckets(write));
        buckets.iter().any(|bucket| bucket.is_occupied_by_caller())
    }

    pub(crate) fn add_handle(&self) {
        self.state().handles.fetch_add(1, Ordering::Relaxed);
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        let another = |handles: usize| (handles > 0).then_some(handles + 1);
        let handles = &self.state().handles;
        handles
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, another)
            .is_ok()
    }

    /// A registry that nobody can reach any more stops.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        if self.state().handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Refused if it has ended, or if there is no thread to be had for its last mail.
            let _ = self.stop_later();
        }
    }
}

/// A handle to a registry. Clones lead to the same one; it stops, with its buckets, when the
/// last of them is dropped.
pub struct Registry {
    server: Arc<RegistryServer>,
    timeout: Timeout,
}

impl Registry {
    pub fn start() -> Result<Registry, Error> {
        let server = RegistryServer::start_registry(Process::running()?);
        Ok(Registry::of(server))
    }

    pub(crate) fn of(server: Arc<RegistryServer>) -> Registry {
        server.add_handle();
        Registry {
            server,
            timeout: Timeout::DEFAULT,
        }
    }

    pub(crate) fn server(&self) -> &Arc<RegistryServer> {
        &self.server
    }

    fn caller(&self) -> Caller<'static> {
        Caller::new(self.timeout)
    }

    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = timeout;
    }

    /// The bucket of that name, started if there is none.
    pub fn create(&self, name: &str) -> Result<Bucket, Error> {
        let bucket = self
            .server
            .create(&mut self.caller(), check_name(name)?, false)?;
        Ok(Bucket::of(bucket))
    }

    /// A new bucket, or `AlreadyStarted`.
    pub fn create_exclusive(&self, name: &str) -> Result<Bucket, Error> {
        let bucket = self
            .server
            .create(&mut self.caller(), check_name(name)?, true)?;
        Ok(Bucket::of(bucket))
    }

    pub fn create_cast(&self, name: &str) -> Result<(), Error> {
        self.server.create_cast(check_name(name)?)
    }

    pub fn lookup(&self, name: &str) -> Result<Bucket, Error> {
        let bucket = self.server.lookup(&mut self.caller(), check_name(name)?)?;
        Ok(Bucket::of(bucket))
    }

    pub fn count(&self) -> Result<usize, Error> {
        self.server.count(&mut self.caller())
    }

    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.server.names(&mut self.caller())
    }

    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        self.server.send(message)
    }

    /// Carries out one line of the text protocol; the reply is what a connection would get.
    pub fn execute(&self, line: &[u8]) -> Result<Vec<u8>, Error> {
        crate::protocol::execute(&self.server, &mut self.caller(), line)
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.server.stop_all(&mut self.caller());
        epoch::tidy();
        stopped
    }
}

impl Clone for Registry {
    fn clone(&self) -> Registry {
        let mut clone = Registry::of(Arc::clone(&self.server));
        clone.timeout = self.timeout;
        clone
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.drop_handle();
    }
}

pub(crate) fn check_name(name: &str) -> Result<&str, Error> {
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(Error::InvalidArgument("a name has 1 to 255 bytes"));
    }
    if name.as_bytes().contains(&0) {
        return Err(Error::InvalidArgument("a name has no NUL"));
    }
    Ok(name)
}
