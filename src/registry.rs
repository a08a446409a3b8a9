//! A registry: a server that knows buckets by name (the guide's `KV.Registry`).
//!
//! It monitors every bucket, from inside: a bucket knows where it is registered, and the
//! first thing its end does is to take its name out, under the registry's `WRITE` alone. So
//! no notice travels, none is late, and a name is gone before anybody can learn of the end
//! (G5). A name is taken out only if it still leads to the bucket that ends. A bucket that is
//! to be restarted is replaced in that same step.
//!
//! A registry that ends refuses mail first, then closes its names in one step, so that no name
//! is missed by who may still ask for it (G3), and then ends its buckets. They wait in
//! `leaving` until all have ended: a second one who ends the registry ends them too.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::bucket::{Bucket, BucketServer, Registered};
use crate::budget::{Budget, Waiting};
use crate::caller::{Caller, Timeout};
use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::log::Level;
use crate::options::{BucketOptions, RegistryOptions};
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::server::{Server, State, Turn, Write};
use crate::supervisor::{comes_back, Child, Decision, Supervisor};
use crate::sync::lock;
use crate::table::{Closed, Entry, Table, Writer};
use crate::thread::Thread;

/// The longest info, in bytes: it is only logged.
const MESSAGE_LIMIT: usize = 64 << 10;

/// The longest name, in bytes.
pub const NAME_LIMIT: usize = 255;

pub(crate) type RegistryServer = Server<RegistryState>;

pub(crate) struct RegistryState {
    names: Table<Arc<BucketServer>>,
    supervisor: Weak<Supervisor>,
    /// What it is registered as itself.
    name: Option<Box<str>>,
    max_mailbox: usize,
    /// For buckets without options of their own.
    bucket_options: Arc<BucketOptions>,
    /// What all buckets together may hold, and how many there may be.
    bytes: Option<Arc<Budget>>,
    buckets: Option<Arc<Budget>>,
    /// The buckets that it had when it closed, until they have ended.
    leaving: Mutex<Arc<[Arc<BucketServer>]>>,
    /// Those whose names went first, until they have ended: who stops the registry ends them too.
    going: Mutex<Vec<Arc<BucketServer>>>,
}

/// What there is to know about a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryInfo {
    pub buckets: usize,
    /// Of all buckets, while each is looked at.
    pub keys: usize,
    pub bytes: usize,
    /// Messages that wait at the registry itself.
    pub mailbox: usize,
    /// Messages that it handled itself: creations, removals, infos; not lookups.
    pub handled: u64,
    /// How often it crashed and came back.
    pub restarts: u64,
    /// Why it ended the last time it did.
    pub last_exit: Option<Reason>,
}

pub(crate) enum Message {
    /// And what it is counted for while it waits.
    Create(Box<str>, Option<Waiting>),
    /// Anything else that was sent: unexpected.
    Info(Box<[u8]>),
}

/// A registry runs no user code.
pub(crate) enum Never {}

impl State for RegistryState {
    type Message = Message;
    type Task = Never;

    fn handle(
        server: &Arc<RegistryServer>,
        write: &Write<'_>,
        message: Message,
    ) -> Result<(), Error> {
        match message {
            Message::Create(name, waiting) => {
                drop(waiting);
                server.create_now(write, &name, None).map(|_| ())
            }
            Message::Info(message) => {
                let logs = server.process().logs();
                if logs.wants(Level::Debug) {
                    let message = message.escape_ascii();
                    let text = format!("unexpected message in registry: \"{message}\"");
                    logs.debug(server.state().name(), &text);
                }
                Ok(())
            }
        }
    }

    fn queue(server: &RegistryServer, message: &mut Message) -> Result<(), Error> {
        let state = server.state();
        if let (Message::Create(name, waiting), Some(buckets)) = (message, &state.buckets) {
            let pinned = epoch::pin();
            if let Ok(None) = state.names.get(name.as_bytes(), &pinned) {
                *waiting = Some(buckets.wait(1)?);
            }
        }
        Ok(())
    }

    fn refused(server: &Arc<RegistryServer>, error: &Error) {
        let text = format!("a bucket was not created: {error}");
        server.process().logs().error(server.state().name(), &text);
    }

    fn mailbox_limit(&self) -> usize {
        self.max_mailbox
    }

    fn run(_turn: Turn<RegistryState>, task: Never) {
        match task {}
    }

    /// Its own name goes only if it does not come back.
    fn unregister(server: &Arc<RegistryServer>, reason: Reason) {
        if !comes_back(server.process(), reason) {
            if let Some(supervisor) = server.state().supervisor.upgrade() {
                server.process().names().forget(&supervisor);
            }
        }
    }

    /// A registry takes its buckets along.
    fn closed(server: &Arc<RegistryServer>, reason: Reason) {
        server.close();
        let leaving = Arc::clone(&lock(&server.state().leaving));
        let going = lock(&server.state().going).clone();
        for bucket in leaving.iter().chain(&going) {
            bucket.end(Exit::new(Reason::Shutdown, ""));
        }
        let ended = std::mem::take(&mut *lock(&server.state().leaving));
        drop(ended); // outside the lock: it may be the last to know them
        if let Some(supervisor) = server.state().supervisor.upgrade() {
            supervisor.replace(server, reason);
        }
    }

    fn close(server: &RegistryServer, write: &Write<'_>) {
        let state = server.state();
        let buckets = state.buckets(write);
        if state.writer(write, &epoch::pin()).close() {
            *lock(&state.leaving) = buckets.into();
            let live = server.process().live_registries();
            live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn ended(server: &Arc<RegistryServer>, exit: &Exit) {
        let process = server.process();
        process.logs().end("registry", server.state().name(), exit);
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
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
    /// Asked for by its supervisor.
    pub(crate) fn start_registry(
        process: &'static Process,
        supervisor: Weak<Supervisor>,
        options: &RegistryOptions,
    ) -> Arc<RegistryServer> {
        process.live_registries().fetch_add(1, Ordering::Relaxed);
        let bucket_options = match options.bucket == **process.bucket_options() {
            true => Arc::clone(process.bucket_options()),
            false => Arc::new(options.bucket.clone()),
        };
        Server::start(
            process,
            RegistryState {
                names: Table::new(),
                supervisor,
                name: options.name.as_deref().map(Box::from),
                max_mailbox: options.max_mailbox,
                bucket_options,
                bytes: Budget::limited("bytes of a registry", options.max_bytes),
                buckets: Budget::limited("buckets of a registry", options.max_buckets),
                leaving: Mutex::default(),
                going: Mutex::default(),
            },
        )
    }

    /// The bucket of that name, started if there is none; `exclusive`: only if there is none.
    /// The options are for one that is started now.
    pub(crate) fn create(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        exclusive: bool,
        options: Option<Arc<BucketOptions>>,
    ) -> Result<Arc<BucketServer>, Error> {
        self.call(caller, |_, write| {
            match self.create_now(write, name, options)? {
                (_, false) if exclusive => Err(Error::AlreadyStarted),
                (bucket, _) => Ok(bucket),
            }
        })?
    }

    /// The same without an answer, and without waiting.
    pub(crate) fn create_cast(self: &Arc<Self>, name: &str) -> Result<(), Error> {
        self.cast(Message::Create(name.into(), None))
    }

    /// The bucket, and whether it was started now.
    fn create_now(
        self: &Arc<Self>,
        write: &Write<'_>,
        name: &str,
        options: Option<Arc<BucketOptions>>,
    ) -> Result<(Arc<BucketServer>, bool), Error> {
        let pinned = epoch::pin();
        let names = self.state().writer(write, &pinned);
        let found = names
            .get(name.as_bytes())
            .map_err(|Closed| Error::ServerDown)?;
        if let Some(found) = found {
            return Ok((Arc::clone(found.value()), false));
        }
        let buckets = self.state().buckets.as_ref();
        buckets.map_or(Ok(()), |buckets| buckets.change(0, 1))?;
        let options = options.unwrap_or_else(|| Arc::clone(&self.state().bucket_options));
        let child = Child::of(&options);
        match self.put_in_place(&names, name, options, child) {
            Ok(bucket) => Ok((bucket, true)),
            Err(error) => {
                self.count_out();
                Err(error)
            }
        }
    }

    /// A bucket less.
    fn count_out(&self) {
        if let Some(buckets) = &self.state().buckets {
            buckets.give_back(1);
        }
    }

    /// Starts a bucket under a name: a new one, or in the place of the one that has it.
    fn put_in_place(
        self: &Arc<Self>,
        names: &Writer<'_, Arc<BucketServer>>,
        name: &str,
        options: Arc<BucketOptions>,
        child: Option<Arc<Child>>,
    ) -> Result<Arc<BucketServer>, Error> {
        names.reserve(1)?;
        let registered = Registered {
            registry: Arc::downgrade(self),
            name: name.into(),
            child,
        };
        let bytes = self.state().bytes.clone();
        let bucket = BucketServer::start_bucket(self.process(), options, Some(registered), bytes);
        let entry = Entry::allocate(name.as_bytes(), Arc::clone(&bucket), b"");
        match entry.and_then(|entry| names.insert(entry)) {
            Ok(_) => Ok(bucket),
            Err(error) => {
                let live = self.process().live_buckets();
                live.fetch_sub(1, Ordering::Relaxed);
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

    /// The short way, where casts of the calling thread are not waiting: `None` if anything is
    /// out of the ordinary, as a name that is not there. Does not panic.
    #[inline(always)]
    pub(crate) fn lookup_at_once<'g>(
        &'g self,
        name: &[u8],
        pinned: &'g Guard,
    ) -> Option<&'g Arc<BucketServer>> {
        let found = self.state().names.get_at_once(name, pinned)?;
        Some(found.value())
    }

    /// Called first when a bucket ends, perhaps more than once: takes its name out, or puts a
    /// new bucket in its place. If the name leads to a newer one already, that one stays.
    pub(crate) fn bucket_ends(
        self: &Arc<Self>,
        bucket: &Arc<BucketServer>,
        registered: &Registered,
        reason: Reason,
    ) {
        let name = &*registered.name;
        let decision = self.still_anyway(|state, write| {
            let pinned = epoch::pin();
            let names = state.writer(write, &pinned);
            match names.get(name.as_bytes()) {
                Ok(Some(found)) if Arc::ptr_eq(found.value(), bucket) => {}
                _ => return Ok(Decision::Leave),
            }
            let mut going = lock(&state.going);
            if going.try_reserve(1).is_ok() {
                going.push(Arc::clone(bucket));
            }
            drop(going);
            let mut decision = self.decide(bucket, registered, reason);
            if let (Ok(Decision::Restart), Some(child)) = (&decision, &registered.child) {
                let (options, child) = (Arc::clone(bucket.options()), Arc::clone(child));
                match self.put_in_place(&names, name, options, Some(child)) {
                    Ok(_) => return decision,
                    Err(error) => decision = Err(error),
                }
            }
            names.remove(name.as_bytes());
            self.count_out();
            decision
        });
        let logs = self.process().logs();
        match decision {
            Ok(Decision::Leave) => {}
            Ok(Decision::Restart) => logs.info(Some(name), "bucket restarted"),
            Ok(Decision::GiveUp) => {
                let text = "bucket restarted too often: it stays down";
                logs.error(Some(name), text);
            }
            Err(error) => logs.error(Some(name), &format!("bucket not restarted: {error}")),
        }
    }

    /// Called last when a bucket ends.
    pub(crate) fn bucket_ended(&self, bucket: &BucketServer) {
        let ended = {
            let mut going = lock(&self.state().going);
            let place = going
                .iter()
                .position(|it| std::ptr::eq(Arc::as_ptr(it), bucket));
            place.map(|place| going.swap_remove(place))
        };
        drop(ended); // outside the lock
    }

    fn decide(
        &self,
        bucket: &BucketServer,
        registered: &Registered,
        reason: Reason,
    ) -> Result<Decision, Error> {
        let Some(child) = &registered.child else {
            return Ok(Decision::Leave);
        };
        // A registry that ends takes its buckets along, for good.
        if bucket.is_removed() || self.exit_reason().is_some() || self.process().is_shut_down() {
            return Ok(Decision::Leave);
        }
        Ok(child.decide(bucket.options(), reason, Instant::now()))
    }

    /// Ends the bucket of that name for good, reason SHUTDOWN, whatever its restart option
    /// (OTP's `terminate_child`). Of several who do so one is told that it did; to the others
    /// there is no such bucket any more.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<(), Error> {
        let (bucket, is_first) = self.call(caller, |state, write| {
            let pinned = epoch::pin();
            let names = state.writer(write, &pinned);
            let found = names.get(name.as_bytes());
            let found = found.map_err(|Closed| Error::ServerDown)?;
            let bucket = Arc::clone(found.ok_or(Error::NotFound)?.value());
            let is_first = bucket.claim_removal();
            Ok((bucket, is_first))
        })??;
        // Others too: what they are told is not there must be gone.
        bucket.end(Exit::new(Reason::Shutdown, "removed"));
        match is_first {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<RegistryInfo, Error> {
        self.settle(caller)?;
        let buckets = self.still(caller, |state, write| state.buckets(write))?;
        let supervisor = self.state().supervisor.upgrade();
        let (restarts, last_exit) = supervisor.map_or((0, None), |it| it.history());
        let sizes = buckets.iter().map(|bucket| bucket.size());
        let (keys, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        Ok(RegistryInfo {
            buckets: buckets.len(),
            keys,
            bytes,
            mailbox: self.mailbox_len(),
            handled: self.handled(),
            restarts,
            last_exit,
        })
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
        if !self.has_ended() && self.would_stop_caller() {
            return Err(Error::CallingSelf);
        }
        self.stop(caller)
    }

    /// Whether user code of the calling thread has the turn of one of the buckets, or one of them
    /// waits for that.
    fn would_stop_caller(&self) -> bool {
        if !Thread::holds_a_turn() {
            return false;
        }
        let buckets = self.still_anyway(|state, write| state.buckets(write));
        buckets.iter().any(|bucket| bucket.would_wait_for_caller())
    }
}

/// A handle to a registry. Clones lead to the same one; one without a name stops, with its
/// buckets, when the last of them is dropped. A registry that crashes comes back empty behind
/// its handles.
pub struct Registry {
    supervisor: Arc<Supervisor>,
    timeout: Timeout,
}

impl Registry {
    pub fn start() -> Result<Registry, Error> {
        Registry::start_with(RegistryOptions::default())
    }

    /// With a name that is taken: `AlreadyStarted`.
    pub fn start_with(options: RegistryOptions) -> Result<Registry, Error> {
        Ok(Registry::of(Supervisor::start(
            Process::running()?,
            options,
        )?))
    }

    /// The registry of that name.
    pub fn whereis(name: &str) -> Result<Registry, Error> {
        let process = Process::running()?;
        Ok(Registry::of(process.names().whereis(check_name(name)?)?))
    }

    pub(crate) fn of(supervisor: Arc<Supervisor>) -> Registry {
        supervisor.add_handle();
        Registry {
            supervisor,
            timeout: Timeout::DEFAULT,
        }
    }

    pub(crate) fn supervisor(&self) -> &Arc<Supervisor> {
        &self.supervisor
    }

    pub(crate) fn server(&self) -> Arc<RegistryServer> {
        self.supervisor.registry()
    }

    fn caller(&self) -> Caller<'static> {
        epoch::tidy(); // of what earlier calls left
        Caller::new(self.timeout)
    }

    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = timeout;
    }

    /// The bucket of that name, started if there is none.
    pub fn create(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, false, None)
    }

    /// The same; one that is started now has these options.
    pub fn create_with(&self, name: &str, options: BucketOptions) -> Result<Bucket, Error> {
        options.check()?;
        self.create_any(name, false, Some(Arc::new(options)))
    }

    /// A new bucket, or `AlreadyStarted`.
    pub fn create_exclusive(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, true, None)
    }

    fn create_any(
        &self,
        name: &str,
        exclusive: bool,
        options: Option<Arc<BucketOptions>>,
    ) -> Result<Bucket, Error> {
        let (mut caller, name) = (self.caller(), check_name(name)?);
        let bucket = self
            .server()
            .create(&mut caller, name, exclusive, options)?;
        Ok(Bucket::of(bucket))
    }

    /// Ends the bucket of that name for good, whatever its restart option.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.server().remove(&mut self.caller(), check_name(name)?)
    }

    pub fn info(&self) -> Result<RegistryInfo, Error> {
        self.server().info(&mut self.caller())
    }

    /// Ends the registry at once, with its buckets. After KILLED and CRASHED it comes back
    /// empty behind its handles and its name.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        let exited = self.server().exit(reason, detail);
        epoch::tidy();
        exited
    }

    pub fn create_cast(&self, name: &str) -> Result<(), Error> {
        self.server().create_cast(check_name(name)?)
    }

    pub fn lookup(&self, name: &str) -> Result<Bucket, Error> {
        let bucket = self
            .server()
            .lookup(&mut self.caller(), check_name(name)?)?;
        Ok(Bucket::of(bucket))
    }

    pub fn count(&self) -> Result<usize, Error> {
        self.server().count(&mut self.caller())
    }

    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.server().names(&mut self.caller())
    }

    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        self.server().send(message)
    }

    /// Carries out one line of the text protocol; the reply is what a connection would get.
    pub fn execute(&self, line: &[u8]) -> Result<Vec<u8>, Error> {
        crate::protocol::execute(&self.server(), &mut self.caller(), line)
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.server().stop_all(&mut self.caller());
        epoch::tidy();
        stopped
    }
}

impl Clone for Registry {
    fn clone(&self) -> Registry {
        let mut clone = Registry::of(Arc::clone(&self.supervisor));
        clone.timeout = self.timeout;
        clone
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.supervisor.drop_handle();
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
