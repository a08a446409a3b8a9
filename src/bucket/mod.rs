//! A bucket: a server that holds a map from key to value (the guide's `KV.Bucket`, an Agent).

mod changes;
mod contents;
mod limits;
mod reading;
mod stored;
mod update;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use crate::budget::{Budget, Waiting};
use crate::caller::{Caller, Timeout};
use crate::epoch::{self, Guard};
use crate::error::Error;
use crate::options::{BucketOptions, Restart};
use crate::process::Process;
use crate::reason::{Exit, Reason};
use crate::registry::RegistryServer;
use crate::server::{Server, State, Turn, Write};
use crate::supervisor::{add_another, Child};
use crate::thread::Lasts;
use crate::value::{Text, Value, ValueRef};

pub(crate) use changes::{Change, Subscriber};
use contents::Contents;
pub(crate) use contents::Pair;
pub use contents::KEY_LIMIT;
use limits::Limits;
pub(crate) use reading::Reader;
pub(crate) use update::Deciding;
pub use update::{Update, Verdict};

pub(crate) type BucketServer = Server<BucketState>;

pub(crate) struct BucketState {
    contents: Contents,
    options: Arc<BucketOptions>,
    registered: Option<Registered>,
    handles: AtomicU32,
    /// Somebody removed it: it ends for good.
    is_removed: AtomicBool,
}

/// Where a bucket is registered, and as what.
pub(crate) struct Registered {
    pub(crate) registry: Weak<RegistryServer>,
    pub(crate) name: Box<str>,
    /// If it may be restarted.
    pub(crate) child: Option<Arc<Child>>,
}

/// What there is to know about a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    pub keys: usize,
    /// Of keys and values.
    pub bytes: usize,
    /// Messages that wait.
    pub mailbox: usize,
    /// Messages that were handled: calls, casts and updates, not plain reads.
    pub handled: u64,
    /// How often the bucket of this name was restarted.
    pub restarts: u64,
    /// Why the last one before this ended.
    pub last_exit: Option<Reason>,
}

pub(crate) enum Message {
    /// And what it is counted for while it waits.
    Put(Pair, Vec<Waiting>),
    Delete(Box<[u8]>),
}

/// An update that the runtime runs: the key, and what to do once the turn is there.
pub(crate) struct Task {
    pub(crate) key: Box<[u8]>,
    pub(crate) run: Box<dyn FnOnce(Deciding) + Send>,
}

impl State for BucketState {
    type Message = Message;
    type Task = Task;

    fn handle(
        server: &Arc<BucketServer>,
        write: &Write<'_>,
        message: Message,
    ) -> Result<(), Error> {
        let contents = &server.state().contents;
        match message {
            Message::Put(pair, waiting) => {
                drop(waiting);
                contents.put(write, pair)
            }
            Message::Delete(key) => match contents.remove(write, &key) {
                Err(Error::NotFound) => Ok(()),
                removed => removed,
            },
        }
    }

    fn queue(server: &BucketServer, message: &mut Message) -> Result<(), Error> {
        if let Message::Put(pair, waiting) = message {
            *waiting = server.state().contents.wait(pair)?;
        }
        Ok(())
    }

    fn refused(server: &Arc<BucketServer>, error: &Error) {
        let text = format!("a cast was dropped: {error}");
        server.process().logs().error(server.state().name(), &text);
    }

    fn mailbox_limit(&self) -> usize {
        self.options.max_mailbox
    }

    fn run(turn: Turn<BucketState>, task: Task) {
        let process = turn.server().process();
        let _running = process.callback(turn.server().state().name());
        (task.run)(Deciding::new(turn, task.key));
    }

    fn unregister(server: &Arc<BucketServer>, reason: Reason) {
        if let Some(registered) = &server.state().registered {
            if let Some(registry) = registered.registry.upgrade() {
                registry.bucket_ends(server, registered, reason);
            }
        }
    }

    fn close(server: &BucketServer, write: &Write<'_>) {
        if server.state().contents.close(write) {
            let live = server.process().live_buckets();
            live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn ended(server: &Arc<BucketServer>, exit: &Exit) {
        let registered = server.state().registered.as_ref();
        if let Some(registry) = registered.and_then(|it| it.registry.upgrade()) {
            registry.bucket_ended(server);
        }
        let process = server.process();
        process.logs().end("bucket", server.state().name(), exit);
    }

    fn name(&self) -> Option<&str> {
        self.registered.as_ref().map(|it| &*it.name)
    }
}

/// What a bucket answers; each as `BucketState` of the module's server, so that the boundary
/// and [`Bucket`] share it. All but `cast`s, `name` and `exit` may block like a call.
impl BucketServer {
    /// `bytes` is the limit that the buckets of a registry share.
    pub(crate) fn start_bucket(
        process: &'static Process,
        options: Arc<BucketOptions>,
        registered: Option<Registered>,
        bytes: Option<Arc<Budget>>,
    ) -> Arc<BucketServer> {
        process.live_buckets().fetch_add(1, Ordering::Relaxed);
        Server::start(
            process,
            BucketState {
                contents: Contents::new(Limits::new(&options, bytes)),
                options,
                registered,
                handles: AtomicU32::new(0),
                is_removed: AtomicBool::new(false),
            },
        )
    }

    /// One that no registry knows.
    pub(crate) fn start_alone(process: &'static Process) -> Arc<BucketServer> {
        let options = Arc::clone(process.bucket_options());
        BucketServer::start_bucket(process, options, None, None)
    }

    /// One that no registry knows, with options of its own.
    pub(crate) fn start_alone_with(
        process: &'static Process,
        options: BucketOptions,
    ) -> Result<Arc<BucketServer>, Error> {
        options.check()?;
        if options.restart != Restart::Temporary {
            let text = "a bucket without a registry is not restarted: nobody holds its place";
            return Err(Error::InvalidArgument(text));
        }
        let options = Arc::new(options);
        Ok(BucketServer::start_bucket(process, options, None, None))
    }

    pub(crate) fn options(&self) -> &Arc<BucketOptions> {
        &self.state().options
    }

    /// A value beyond the bucket's limit is refused before it is copied; what is wrong with
    /// the bucket itself is named first.
    fn check_value(self: &Arc<Self>, value: &ValueRef<'_>, is_call: bool) -> Result<(), Error> {
        let len = match value {
            ValueRef::String(text) => text.len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            _ => return Ok(()),
        };
        if len <= self.state().options.max_value {
            return Ok(());
        }
        if self.has_ended() {
            return Err(self.gone(Error::NoProcess));
        }
        if is_call && self.is_occupied_by_caller() {
            return Err(Error::CallingSelf);
        }
        Err(Error::Limit("bytes of a value"))
    }

    /// From here on it ends for good, whenever it ends. Of several who ask for that, `true`
    /// for the first.
    pub(crate) fn claim_removal(&self) -> bool {
        !self.state().is_removed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.state().is_removed.load(Ordering::Relaxed)
    }

    /// Keys, and bytes of keys and values.
    pub(crate) fn size(&self) -> (usize, usize) {
        let contents = self.contents();
        let keys = contents.count(&epoch::pin()).unwrap_or(0);
        (keys, contents.bytes())
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<BucketInfo, Error> {
        let keys = self.count(caller)?;
        let state = self.state();
        let child = state.registered.as_ref().and_then(|it| it.child.as_ref());
        let (restarts, last_exit) = child.map_or((0, None), |child| child.history());
        Ok(BucketInfo {
            keys,
            bytes: state.contents.bytes(),
            mailbox: self.mailbox_len(),
            handled: self.handled(),
            restarts,
            last_exit,
        })
    }

    /// From now on the subscriber is told of every change.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<(), Error> {
        self.settle(caller)?;
        self.still(caller, |state, write| {
            state.contents.subscribe(write, subscriber)
        })
    }

    /// The short way of a read, where casts of the calling thread are not waiting: `None` if
    /// anything is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(crate) fn read_at_once<R: Reader>(
        &self,
        key: &[u8],
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let contents = &self.state().contents;
        contents.read_at_once(key, pinned, reader)
    }

    /// The short way of a put: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn put_at_once(
        &self,
        key: &[u8],
        value: ValueRef<'_>,
        pinned: &Guard,
    ) -> Option<()> {
        if !value.is_small() {
            return None;
        }
        self.at_once(|state, write| {
            let fits = stored::tail_of(value).len() <= state.options.max_value;
            (fits && state.contents.put_at_once(write, key, value, pinned)).then_some(())
        })
    }

    /// The short way of a delete: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn delete_at_once<R: Reader>(
        &self,
        key: &[u8],
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        self.at_once(|state, write| state.contents.delete_at_once(write, key, reader, pinned))
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        self.settle(caller)?;
        self.state().contents.get(key, &epoch::pin())
    }

    /// The value if it is no text; `None` if it is one.
    pub(crate) fn scalar(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Option<ValueRef<'static>>, Error> {
        self.settle(caller)?;
        self.state().contents.scalar(key, &epoch::pin())
    }

    /// Copies a text, if it has at most `capacity` bytes: how many it has; `None` if the value
    /// is none.
    ///
    /// # Safety
    /// `to` may be written for `capacity` bytes.
    pub(crate) unsafe fn copy_text(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        to: *mut u8,
        capacity: usize,
    ) -> Result<Option<usize>, Error> {
        self.settle(caller)?;
        // SAFETY: by contract.
        unsafe {
            self.state()
                .contents
                .copy_text(key, &epoch::pin(), to, capacity)
        }
    }

    pub(crate) fn put(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        value: ValueRef<'_>,
    ) -> Result<(), Error> {
        self.check_value(&value, true)?;
        if value.is_small() {
            return self.call(caller, |state, write| {
                state.contents.put_small(write, key, value)
            })?;
        }
        // What is large is copied before the turn is taken.
        let pair = Pair::new(key, value)?;
        self.call(caller, |state, write| state.contents.put(write, pair))?
    }

    pub(crate) fn delete(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        self.call(caller, |state, write| state.contents.delete(write, key))?
    }

    /// The same for callers who do not want the value.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<(), Error> {
        self.call(caller, |state, write| state.contents.remove(write, key))?
    }

    pub(crate) fn put_cast(self: &Arc<Self>, key: &[u8], value: ValueRef<'_>) -> Result<(), Error> {
        self.check_value(&value, false)?;
        self.cast(Message::Put(Pair::new(key, value)?, Vec::new()))
    }

    pub(crate) fn delete_cast(self: &Arc<Self>, key: &[u8]) -> Result<(), Error> {
        self.cast(Message::Delete(copy_key(key)?))
    }

    pub(crate) fn update_cast(
        self: &Arc<Self>,
        key: &[u8],
        run: Box<dyn FnOnce(Deciding) + Send>,
    ) -> Result<(), Error> {
        let key = copy_key(key)?;
        self.cast_task(Task { key, run })
    }

    /// A pair for an update, which is inside already.
    fn pair_inside(self: &Arc<Self>, key: &[u8], value: ValueRef<'_>) -> Result<Pair, Error> {
        self.check_value(&value, false)?;
        Pair::new(key, value)
    }

    /// Stores all pairs, or none.
    pub(crate) fn put_many(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pairs: &[(&[u8], ValueRef<'_>)],
    ) -> Result<(), Error> {
        for (_, value) in pairs {
            self.check_value(value, true)?;
        }
        if !pairs.iter().all(|(_, value)| value.is_small()) {
            // What is large is copied before the turn is taken.
            let ready = made(pairs)?;
            return self.call(caller, |state, write| state.contents.put_many(write, ready))?;
        }
        self.call(caller, |state, write| {
            if state.contents.overwrite_all(write, pairs) {
                return Ok(());
            }
            state.contents.put_many(write, made(pairs)?)
        })?
    }

    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many<'k>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        keys: impl ExactSizeIterator<Item = &'k [u8]>,
    ) -> Result<Vec<Option<Value>>, Error> {
        self.settle(caller)?;
        self.still(caller, |state, _| {
            let pinned = epoch::pin();
            let mut values = Vec::new();
            values
                .try_reserve_exact(keys.len())
                .map_err(|_| Error::NoMemory)?;
            for key in keys {
                values.push(match state.contents.get(key, &pinned) {
                    Ok(value) => Some(value),
                    Err(Error::NotFound) => None,
                    Err(error) => return Err(error),
                });
            }
            Ok(values)
        })?
    }

    pub(crate) fn update_begin(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        lasts: Lasts,
    ) -> Result<Deciding, Error> {
        let key = copy_key(key)?;
        Ok(Deciding::new(self.occupy(caller, lasts)?, key))
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        self.settle(caller)?;
        self.state().contents.count(&epoch::pin())
    }

    pub(crate) fn clear(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        self.call(caller, |state, write| state.contents.clear(write))
    }

    /// A snapshot.
    pub(crate) fn items(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<(Text, Value)>, Error> {
        self.settle(caller)?;
        self.still(caller, |state, write| state.contents.items(write))?
    }

    /// Handles are counted where it matters: a registered bucket goes on without.
    #[inline]
    pub(crate) fn is_registered(&self) -> bool {
        self.state().registered.is_some()
    }

    pub(crate) fn add_handle(&self) {
        if !self.is_registered() {
            self.state().handles.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        self.is_registered() || add_another(&self.state().handles)
    }

    /// A bucket that nobody can reach any more stops.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        if self.is_registered() {
            return;
        }
        if self.state().handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Refused if it has ended, or if there is no thread to be had for its last mail:
            // then it lies there, as before.
            let _ = self.stop_later();
        }
    }

    fn contents(&self) -> &Contents {
        &self.state().contents
    }
}

fn made(pairs: &[(&[u8], ValueRef<'_>)]) -> Result<Vec<Pair>, Error> {
    let mut ready = Vec::new();
    ready
        .try_reserve_exact(pairs.len())
        .map_err(|_| Error::NoMemory)?;
    for (key, value) in pairs {
        ready.push(Pair::new(key, *value)?);
    }
    Ok(ready)
}

fn copy_key(key: &[u8]) -> Result<Box<[u8]>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(key.len())
        .map_err(|_| Error::NoMemory)?;
    copy.extend_from_slice(key);
    Ok(copy.into_boxed_slice())
}

/// A handle to a bucket. Clones lead to the same bucket; one without a registry stops when
/// the last of them is dropped.
pub struct Bucket {
    server: Arc<BucketServer>,
    timeout: Timeout,
}

impl Bucket {
    /// Starts a bucket without a registry.
    pub fn start() -> Result<Bucket, Error> {
        let server = BucketServer::start_alone(Process::running()?);
        Ok(Bucket::of(server))
    }

    /// Starts a bucket without a registry, with options. Its `restart` is [`Restart::Temporary`]:
    /// nobody would start it again.
    pub fn start_with(options: BucketOptions) -> Result<Bucket, Error> {
        let server = BucketServer::start_alone_with(Process::running()?, options)?;
        Ok(Bucket::of(server))
    }

    pub(crate) fn of(server: Arc<BucketServer>) -> Bucket {
        server.add_handle();
        Bucket {
            server,
            timeout: Timeout::DEFAULT,
        }
    }

    pub(crate) fn server(&self) -> &Arc<BucketServer> {
        &self.server
    }

    fn caller(&self) -> Caller<'static> {
        epoch::tidy(); // of what earlier calls left
        Caller::new(self.timeout)
    }

    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = timeout;
    }

    pub fn get(&self, key: &[u8]) -> Result<Value, Error> {
        self.server.get(&mut self.caller(), check_key(key)?)
    }

    pub fn put<'v>(&self, key: &[u8], value: impl Into<ValueRef<'v>>) -> Result<(), Error> {
        let put = self
            .server
            .put(&mut self.caller(), check_key(key)?, value.into());
        epoch::tidy();
        put
    }

    /// Takes a key out; its value is the answer.
    pub fn delete(&self, key: &[u8]) -> Result<Value, Error> {
        let old = self.server.delete(&mut self.caller(), check_key(key)?);
        epoch::tidy();
        old
    }

    pub fn put_cast<'v>(&self, key: &[u8], value: impl Into<ValueRef<'v>>) -> Result<(), Error> {
        epoch::tidy();
        self.server.put_cast(check_key(key)?, value.into())
    }

    pub fn delete_cast(&self, key: &[u8]) -> Result<(), Error> {
        epoch::tidy();
        self.server.delete_cast(check_key(key)?)
    }

    /// Runs `decide` while the bucket waits: exactly once, one at a time with everything else
    /// the bucket does (Agent's `get_and_update`). If it panics, the bucket crashes.
    pub fn update(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<&Value>) -> Verdict,
    ) -> Result<(), Error> {
        let caller = &mut self.caller();
        let mut update = self
            .server
            .update_begin(caller, check_key(key)?, Lasts::Call)?;
        let current = update.current()?;
        let decided =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decide(current.as_ref())));
        update.apply(decided.unwrap_or(Verdict::Crash))
    }

    /// The same by the runtime, later.
    pub fn update_cast(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<&Value>) -> Verdict + Send + 'static,
    ) -> Result<(), Error> {
        self.server.update_cast(
            check_key(key)?,
            Box::new(move |mut update| {
                let verdict = match update.current() {
                    Ok(current) => decide(current.as_ref()),
                    Err(_) => return,
                };
                match update.apply(verdict) {
                    Ok(()) | Err(Error::Aborted | Error::ServerDown | Error::Forked) => {}
                    Err(error) => update.log_refused(&error),
                }
            }),
        )
    }

    /// The same without a function: the bucket waits until the update is ended or dropped.
    pub fn update_begin(&self, key: &[u8]) -> Result<Update, Error> {
        let caller = &mut self.caller();
        let deciding = self
            .server
            .update_begin(caller, check_key(key)?, Lasts::Open)?;
        Update::begin(deciding)
    }

    /// Stores all pairs, or none.
    pub fn put_many(&self, pairs: &[(&[u8], ValueRef<'_>)]) -> Result<(), Error> {
        for (key, _) in pairs {
            check_key(key)?;
        }
        self.server.put_many(&mut self.caller(), pairs)
    }

    /// Many values as they are at one instant.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.server
            .get_many(&mut self.caller(), keys.iter().copied())
    }

    pub fn count(&self) -> Result<usize, Error> {
        self.server.count(&mut self.caller())
    }

    pub fn clear(&self) -> Result<(), Error> {
        let cleared = self.server.clear(&mut self.caller());
        epoch::tidy();
        cleared
    }

    /// All keys and values as they are at one instant.
    pub fn items(&self) -> Result<Vec<(Text, Value)>, Error> {
        self.server.items(&mut self.caller())
    }

    /// The name it is registered under, after its end too.
    pub fn name(&self) -> Option<&str> {
        self.server.state().name()
    }

    /// Stops the bucket, reason NORMAL, after what is queued; returns when it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.server.stop(&mut self.caller());
        epoch::tidy();
        stopped
    }

    /// Ends the bucket at once, whatever is queued.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        let exited = self.server.exit(reason, detail);
        epoch::tidy();
        exited
    }

    pub fn info(&self) -> Result<BucketInfo, Error> {
        self.server.info(&mut self.caller())
    }

    /// Links two buckets: when one ends abnormally, so does the other.
    pub fn link(&self, other: &Bucket) -> Result<(), Error> {
        self.server.link(&other.server)
    }

    /// Takes a link away, if there is one.
    pub fn unlink(&self, other: &Bucket) {
        self.server.unlink(&other.server);
    }

    /// Whether both are handles to the same bucket.
    pub fn is(&self, other: &Bucket) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }
}

impl Clone for Bucket {
    fn clone(&self) -> Bucket {
        let mut clone = Bucket::of(Arc::clone(&self.server));
        clone.timeout = self.timeout;
        clone
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.drop_handle();
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<&[u8], Error> {
    if key.len() > KEY_LIMIT {
        return Err(Error::InvalidArgument("a key has at most 65536 bytes"));
    }
    Ok(key)
}
