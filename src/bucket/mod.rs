//! A bucket: a server that holds a map from key to value (the guide's `KV.Bucket`, an Agent).

mod callbacks;
mod options;
mod small_pair;
mod update;

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::log::Logs;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::reclaim::{self, Guard};
use crate::server::{Caller, HandleCount, Lasts, NamedServer, Place, Reservation};
use crate::server::{ChildSpec, RestartPolicy, Server, State, System, Turn, Writing};
use crate::store::{Contents, Key, Left, Limits, Many, Pair, Reader, Small, Unread, KEY_LIMIT};
use crate::sync::Counter;
use crate::time::Deadline;
use crate::value::{Text, Value, ValueRef};
use crate::watch::{Subscriber, Subscribers};

use callbacks::Callbacks;
pub use options::BucketOptions;
use small_pair::SmallPair;
pub use update::Verdict;
pub(crate) use update::{Deciding, Decision, Keyed, OpenUpdate};

/// Bytes of keys and values that are likely to be in a processor's cache.
const NEAR: usize = 1 << 20;

pub(crate) type BucketServer = Server<BucketState>;

/// How long a reader waits for a writer before it looks again.
const WRITE_STEP: Duration = Duration::from_millis(1);

/// How often a snapshot is begun anew before it is taken in one piece.
const SNAPSHOTS: usize = 4;

/// What a sleeper needs to wake up, between two slices of a snapshot.
const GAP: Duration = Duration::from_micros(50);

/// What all buckets of a process share.
#[derive(Default)]
pub(crate) struct Buckets {
    /// Those that have not ended.
    live: Counter,
    callbacks: Callbacks,
    /// Of those that no registry knows, and that have no options of their own.
    lone_spec: OnceLock<Arc<BucketSpec>>,
}

impl Buckets {
    pub(crate) fn lone_spec(&self, around: Surroundings) -> Arc<BucketSpec> {
        let options = BucketOptions::default();
        let spec = || Arc::new(BucketSpec { options, around });
        Arc::clone(self.lone_spec.get_or_init(spec))
    }

    pub(crate) fn live(&self) -> usize {
        self.live.count()
    }

    /// The buckets whose callbacks run on the runtime's threads now: "" for one without a name.
    pub(crate) fn running_callbacks(&self) -> Vec<String> {
        self.callbacks.running()
    }
}

/// What a bucket has around it.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) system: &'static System,
    pub(crate) logs: &'static Logs,
    pub(crate) buckets: &'static Buckets,
}

/// How a bucket is started, at first and again.
pub(crate) struct BucketSpec {
    pub(crate) options: BucketOptions,
    pub(crate) around: Surroundings,
}

impl ChildSpec for BucketSpec {
    fn policy(&self) -> RestartPolicy {
        self.options.policy()
    }

    fn start(self: Arc<Self>, place: Place) -> NamedServer {
        NamedServer::new(BucketServer::start_bucket(self, Some(place)))
    }
}

pub(crate) struct BucketState {
    contents: Contents,
    /// What waits in the mailbox is counted.
    is_limited: bool,
    spec: Arc<BucketSpec>,
    place: Option<Place>,
    handles: HandleCount,
    subscribers: OnceLock<Arc<Subscribers>>,
    /// What the boundary has to hold the one update that may be open.
    holder: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// What there is to know about a bucket.
///
/// ```
/// let bucket = kvreg::Bucket::start()?;
/// bucket.put("milk", 1)?;
/// let info = bucket.info()?;
/// assert_eq!((info.keys, info.handled), (1, 1));
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketInfo {
    /// Keys that it holds.
    pub keys: usize,
    /// Bytes of keys and values.
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
    Put(Pair, Vec<Reservation>),
    /// What needs no memory of its own.
    PutSmall(SmallPair),
    Delete(Box<[u8]>),
}

/// An update that the runtime runs: the key, and what to do once the turn is there.
pub(crate) struct Task {
    pub(crate) key: Box<[u8]>,
    pub(crate) run: Box<dyn FnOnce(Deciding) + Send>,
}

// SAFETY: `exclusive` answers the state's own contents.
unsafe impl State for BucketState {
    type Exclusive = Contents;
    type Message = Message;
    type Task = Task;

    fn handle(
        _server: &Arc<BucketServer>,
        write: &Writing<'_, BucketState>,
        message: Message,
    ) -> Result<(), Error> {
        match message {
            Message::Put(pair, reserved) => {
                drop(reserved);
                write.exclusive().put(pair)
            }
            Message::PutSmall(pair) => {
                let key = Key::new(pair.key());
                write.exclusive().put_small(key, pair.value())
            }
            Message::Delete(key) => match write.exclusive().remove(Key::new(&key)) {
                Err(Error::NotFound) => Ok(()),
                removed => removed,
            },
        }
    }

    fn queue(server: &BucketServer, message: &mut Message) -> Result<(), Error> {
        if let Message::Put(pair, reserved) = message {
            *reserved = server.state().contents.reserve(pair)?;
        }
        Ok(())
    }

    fn refused(server: &Arc<BucketServer>, error: &Error) {
        server.log_error(&format!("a cast was dropped: {error}"));
    }

    fn mailbox_limit(&self) -> usize {
        self.spec.options.max_mailbox
    }

    fn run(turn: Turn<BucketState>, task: Task) {
        let server = Arc::clone(turn.inside().server());
        let callbacks = &server.state().spec.around.buckets.callbacks;
        let _running = callbacks.note(server.system(), server.state().name());
        (task.run)(Deciding::new(turn, task.key));
    }

    #[inline(always)]
    fn exclusive(&self) -> &Contents {
        &self.contents
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn close(write: &Writing<'_, BucketState>) {
        if write.exclusive().close() {
            let live = &write.state().spec.around.buckets.live;
            live.remove();
        }
    }

    fn ended(server: &Arc<BucketServer>, exit: &Exit) {
        let state = server.state();
        state.spec.around.logs.end("bucket", state.name(), exit);
    }

    fn name(&self) -> Option<&str> {
        self.place.as_ref().map(Place::name)
    }

    fn size(&self) -> (usize, usize) {
        (self.contents.count().unwrap_or(0), self.contents.bytes())
    }
}

/// What a bucket answers; each as `BucketState` of the module's server, so that the boundary
/// and Rust programs share it. All but `cast`s, `name` and `exit` may block like a call.
impl BucketServer {
    /// Without a place it is one that no registry knows.
    pub(crate) fn start_bucket(spec: Arc<BucketSpec>, place: Option<Place>) -> Arc<BucketServer> {
        let around = spec.around;
        around.buckets.live.add();
        let shared = place.as_ref().and_then(Place::bytes);
        let limits = Limits::new(spec.options.max_keys, spec.options.max_bytes, shared);
        Server::start(
            around.system,
            BucketState {
                is_limited: limits.is_some(),
                contents: Contents::new(limits),
                spec,
                place,
                handles: HandleCount::default(),
                subscribers: OnceLock::new(),
                holder: OnceLock::new(),
            },
        )
    }

    pub(crate) fn log_error(&self, text: &str) {
        let state = self.state();
        state.spec.around.logs.error(state.name(), text);
    }

    /// A value beyond the bucket's limit is refused before it is copied; what is wrong with
    /// the bucket itself is named first.
    fn check_value(self: &Arc<Self>, value: &ValueRef<'_>, is_call: bool) -> Result<(), Error> {
        if value.text().len() <= self.state().spec.options.max_value {
            return Ok(());
        }
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        if is_call && self.is_occupied_by_caller() {
            return Err(Error::CallingSelf);
        }
        Err(Error::Limit("bytes of a value"))
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<BucketInfo, Error> {
        let keys = self.count(caller)?;
        let state = self.state();
        let (restarts, last_exit) = state.place.as_ref().map_or((0, None), Place::history);
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
        self.await_own_casts(caller)?;
        self.with_write_lock(caller, |write| {
            let subscribers = write.state().subscribers.get_or_init(Arc::default);
            subscribers.add(subscriber);
            let observer = || Arc::clone(subscribers) as _;
            write.exclusive().observe(observer);
        })
    }

    /// The short way of a read, where casts of the calling thread are not waiting: `None` if
    /// anything is out of the ordinary. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_read<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        let contents = &self.state().contents;
        contents.fast_read(key, pinned, reader)
    }

    /// Whether it holds more than a processor keeps near.
    #[inline(always)]
    pub(crate) fn is_large(&self) -> bool {
        self.state().contents.bytes() > NEAR
    }

    /// The short way of a put: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_put(&self, key: Key<'_>, value: ValueRef<'_>, pinned: &Guard) -> Option<()> {
        let small = Small::of(value)?;
        self.fast_call(|write| {
            let fits = value.text().len() <= write.state().spec.options.max_value;
            (fits && write.exclusive().fast_put(key, &small, pinned)).then_some(())
        })
    }

    /// The short way of a delete: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_delete<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        self.fast_call(|write| write.exclusive().fast_delete(key, reader, pinned))
    }

    /// The value of a key, as the reader makes it.
    pub(crate) fn read<R: Reader + Copy>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: Key<'_>,
        reader: R,
    ) -> Result<R::Read, Error> {
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.read(key, reader))
    }

    pub(crate) fn get(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        let key = Key::new(key);
        self.await_own_casts(caller)?;
        self.read_again(caller, || self.state().contents.get(key))
    }

    /// Reads, and where a writer is in the middle of a change and does not come to its end reads
    /// again under the write exclusion, which that one has. It is waited for in short steps: another
    /// writer may have it by then, for longer and with nothing in the reader's way.
    fn read_again<T>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        read: impl Fn() -> Result<T, Unread>,
    ) -> Result<T, Error> {
        loop {
            match read() {
                Ok(read) => return Ok(read),
                Err(Unread::Error(error)) => return Err(error),
                Err(Unread::Busy) => caller.unpin(),
            }
            let soon = Deadline::after(WRITE_STEP);
            match self.with_write_lock_before(soon, |_| read()) {
                Ok(Ok(read)) => return Ok(read),
                Ok(Err(Unread::Error(error))) => return Err(error),
                Ok(Err(Unread::Busy)) | Err(Error::Timeout) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    pub(crate) fn put(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        value: ValueRef<'_>,
    ) -> Result<(), Error> {
        self.check_value(&value, true)?;
        let key = Key::new(key);
        if !reclaim::has_room() && self.put_without_room(caller, &[(key, value)])? {
            return Ok(());
        }
        with_memory(caller, |caller| {
            if value.is_small() {
                return self.call(caller, |write| write.exclusive().put_small(key, value))?;
            }
            // What is large is copied before the turn is taken.
            caller.unpin();
            let pair = Pair::new(&key, value)?;
            self.call(caller, |write| write.exclusive().put(pair))?
        })
    }

    /// While what was overwritten waits to be freed, and may not become more: stores all in the
    /// places of older ones, which leaves nothing to be freed, or waits for readers; `false` if
    /// they have let go.
    #[cold]
    fn put_without_room(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pairs: &[(Key<'_>, ValueRef<'_>)],
    ) -> Result<bool, Error> {
        let is_small = pairs.iter().all(|(_, value)| value.is_small());
        if is_small && self.call(caller, |write| write.exclusive().overwrite_all(pairs))? {
            return Ok(true);
        }
        self.wait_for_room(caller).map(|()| false)
    }

    fn wait_for_room(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        let waited = reclaim::wait_for_room(&caller.begin_blocking());
        match waited {
            Err(_) if self.has_ended() => Err(self.finish_end(Error::NoProcess)),
            waited => waited,
        }
    }

    pub(crate) fn delete(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        let key = Key::new(key);
        self.call(caller, |write| write.exclusive().delete(key))?
    }

    /// Takes a key out, for callers who do not want the value.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<(), Error> {
        let key = Key::new(key);
        self.call(caller, |write| write.exclusive().remove(key))?
    }

    pub(crate) fn put_cast(self: &Arc<Self>, key: &[u8], value: ValueRef<'_>) -> Result<(), Error> {
        self.check_value(&value, false)?;
        if !reclaim::has_room() {
            return Err(Error::NoMemory);
        }
        if !value.is_small() {
            return self.cast(Message::Put(Pair::new(key, value)?, Vec::new()));
        }
        let hashed = Key::new(key);
        self.cast_or_queue(
            |write| write.exclusive().put_small(hashed, value),
            || match SmallPair::new(key, value) {
                Some(pair) if !self.state().is_limited => Ok(Message::PutSmall(pair)),
                _ => Ok(Message::Put(Pair::new(key, value)?, Vec::new())),
            },
        )
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

    /// As `update_cast`, for who awaits an answer of it.
    #[cfg(feature = "aio")]
    pub(crate) fn update_for_answer(
        self: &Arc<Self>,
        key: &[u8],
        run: Box<dyn FnOnce(Deciding) + Send>,
    ) -> Result<(), Error> {
        let key = copy_key(key)?;
        self.request_task(Task { key, run })
    }

    /// A pair for an update, which is inside already.
    #[cfg(feature = "aio")]
    fn pair_inside(self: &Arc<Self>, key: &[u8], value: ValueRef<'_>) -> Result<Pair, Error> {
        self.check_value(&value, false)?;
        Pair::new(key, value)
    }

    /// Stores all pairs, or none.
    pub(crate) fn put_many(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pairs: &[(Key<'_>, ValueRef<'_>)],
    ) -> Result<(), Error> {
        for (_, value) in pairs {
            self.check_value(value, true)?;
        }
        if !reclaim::has_room() && self.put_without_room(caller, pairs)? {
            return Ok(());
        }
        with_memory(caller, |caller| {
            if !Contents::is_short(pairs) {
                // What is long is copied before the turn is taken.
                let ready = made(pairs)?;
                return self.call(caller, |write| write.exclusive().put_many(ready))?;
            }
            self.call(caller, |write| {
                let contents = write.exclusive();
                if contents.overwrite_all(pairs) {
                    return Ok(());
                }
                contents.put_many(made(pairs)?)
            })?
        })
    }

    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many<'k>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        keys: &[Key<'k>],
    ) -> Result<Many, Error> {
        self.await_own_casts(caller)?;
        if let Some(values) = self.state().contents.get_many(keys)? {
            return Ok(values);
        }
        self.with_write_lock(caller, |write| write.exclusive().get_many(keys))?
    }

    /// Takes the turn for an update of a key. To keep it open, `lasts` must say so.
    pub(crate) fn update_begin<K: Keyed>(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: K,
        lasts: Lasts,
    ) -> Result<Deciding<K>, Error> {
        if !reclaim::has_room() {
            self.wait_for_room(caller)?;
        }
        Ok(Deciding::new(self.occupy(caller, lasts)?, key))
    }

    /// As `update_begin`, by the short way: `None` if anybody is in the way. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_update_begin<K: Keyed>(
        self: &Arc<Self>,
        key: K,
        lasts: Lasts,
    ) -> Option<Deciding<K>> {
        if !reclaim::has_room() {
            return None;
        }
        Some(Deciding::new(self.fast_occupy(lasts)?, key))
    }

    /// What the boundary made to hold an open update, if it did.
    #[inline(always)]
    pub(crate) fn holder(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.state().holder.get()
    }

    /// Keeps what holds an open update, unless there is one.
    pub(crate) fn set_holder(&self, holder: Arc<dyn Any + Send + Sync>) {
        let _ = self.state().holder.set(holder);
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        self.await_own_casts(caller)?;
        self.state().contents.count()
    }

    pub(crate) fn clear(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        self.call(caller, |write| write.exclusive().clear())
    }

    /// A snapshot.
    pub(crate) fn items(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
    ) -> Result<Vec<(Text, Value)>, Error> {
        self.await_own_casts(caller)?;
        for _ in 0..SNAPSHOTS {
            if let Some(items) = self.try_items(caller, true)? {
                return Ok(items);
            }
        }
        // It was cleared again and again.
        let items = self.try_items(caller, false)?;
        items.ok_or(Error::NoMemory)
    }

    /// A snapshot, if it is not disturbed. The write exclusion is given back between slices, and
    /// for a moment to those who sleep for it.
    fn try_items(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        in_slices: bool,
    ) -> Result<Option<Vec<(Text, Value)>>, Error> {
        let mut items = self.state().contents.items(in_slices);
        self.with_write_lock(caller, |write| write.exclusive().begin_items(&mut items))??;
        loop {
            let (left, is_wanted) = self.with_write_lock(caller, |write| {
                let left = write.exclusive().continue_items(&mut items);
                (left, write.is_wanted())
            })?;
            match left? {
                Left::More if is_wanted => std::thread::sleep(GAP),
                Left::More => {}
                Left::Nothing => return items.finish(),
                Left::All => return Ok(None),
            }
        }
    }

    /// Handles are counted where it matters: a registered bucket goes on without.
    #[inline]
    pub(crate) fn is_registered(&self) -> bool {
        self.state().place.is_some()
    }

    pub(crate) fn add_handle(&self) {
        if !self.is_registered() {
            self.state().handles.add();
        }
    }

    /// From a handle that may be freed meanwhile: `false` if it was the last.
    pub(crate) fn add_another_handle(&self) -> bool {
        self.is_registered() || self.state().handles.add_another()
    }

    /// A bucket that nobody can reach any more stops.
    pub(crate) fn drop_handle(self: &Arc<Self>) {
        if !self.is_registered() && self.state().handles.remove() {
            // Refused if it has ended, or if there is no thread to be had for its last mail:
            // then it lies there, as before.
            let _ = self.stop_later();
        }
    }
}

/// Writes; what finds no memory frees what waits for that, and tries again.
fn with_memory<R>(
    caller: &mut Caller<'_>,
    write: impl Fn(&mut Caller<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    loop {
        match write(caller) {
            Err(Error::NoMemory) if reclaim::free_for_writer(&caller.begin_blocking()) => {}
            written => return written,
        }
    }
}

fn made(pairs: &[(Key<'_>, ValueRef<'_>)]) -> Result<Vec<Pair>, Error> {
    let mut ready = Vec::new();
    memory::reserve(&mut ready, pairs.len())?;
    for (key, value) in pairs {
        ready.push(Pair::new(key, *value)?);
    }
    Ok(ready)
}

pub(crate) fn copy_key(key: &[u8]) -> Result<Box<[u8]>, Error> {
    let mut copy = Vec::new();
    memory::reserve(&mut copy, key.len())?;
    copy.extend_from_slice(key);
    Ok(copy.into_boxed_slice())
}

pub(crate) fn check_key(key: &[u8]) -> Result<&[u8], Error> {
    if key.len() > KEY_LIMIT {
        return Err(Error::InvalidArgument("a key has at most 65536 bytes"));
    }
    Ok(key)
}
