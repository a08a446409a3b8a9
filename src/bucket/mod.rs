//! A bucket: a server that holds a map from key to value (the guide's `KV.Bucket`, an Agent).

mod apply;
mod backed;
mod callbacks;
mod conditions;
mod expiry;
mod options;
mod reads;
mod saving;
mod shared;
mod small_pair;
mod update;
mod watches;
mod writes;

use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::log::Logs;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::reclaim;
use crate::server::{Caller, Front, HandleCount, Lasts, NamedServer, Place, Reservation};
use crate::server::{ChildSpec, RestartPolicy, Server, State, System, Turn, Writing};
use crate::store::{Always, Contents, Key, Limits, Location, Pair, RevisionBlocks, KEY_LIMIT};
use crate::sync::Counter;
use crate::watch::{Subscriber, Subscribers};

use backed::Backed;
pub(crate) use backed::{Engines, Loader};
use callbacks::{Callbacks, Running};
pub(crate) use expiry::Due;
use expiry::Expiry;
pub use options::{BucketOptions, OnFull, Order, Reads};
pub(crate) use shared::PATIENCE as SHARED_PATIENCE;
use small_pair::SmallPair;
pub use update::Verdict;
pub(crate) use update::{Deciding, Decision, Keyed, OpenUpdate};

pub(crate) type BucketServer = Server<BucketState>;

/// What all buckets of a process share.
#[derive(Default)]
pub(crate) struct Buckets {
    /// Those that have not ended.
    live: Counter,
    callbacks: Callbacks,
    expiry: Expiry,
    /// Of those that no registry knows, and that have no options of their own.
    lone_spec: OnceLock<Arc<BucketSpec>>,
}

impl Buckets {
    pub(crate) fn lone_spec(&self, around: Surroundings) -> Arc<BucketSpec> {
        let options = BucketOptions::default();
        let spec = || Arc::new(BucketSpec::alone(options, around));
        Arc::clone(self.lone_spec.get_or_init(spec))
    }

    pub(crate) fn live(&self) -> usize {
        self.live.count()
    }

    /// What is due at some time.
    pub(crate) fn agenda(&'static self) -> &'static Expiry {
        &self.expiry
    }

    /// Notes that a callback runs on one of the runtime's threads, until the answer is dropped.
    pub(crate) fn note_callback(&self, system: &'static System, name: Option<&str>) -> Running<'_> {
        self.callbacks.note(system, name)
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
    pub(crate) engines: &'static Engines,
}

/// How a bucket is started, at first and again.
pub(crate) struct BucketSpec {
    pub(crate) options: BucketOptions,
    pub(crate) around: Surroundings,
    /// Where its registry's buckets draw their revisions; one that has none shares with nobody.
    pub(crate) revisions: Option<Arc<RevisionBlocks>>,
    /// The number of its registry: of those that may share what stores are in.
    pub(crate) owner: u64,
}

impl BucketSpec {
    /// Of a bucket that no registry knows.
    pub(crate) fn alone(options: BucketOptions, around: Surroundings) -> BucketSpec {
        BucketSpec {
            options,
            around,
            revisions: None,
            owner: 0,
        }
    }

    /// Where the store of a bucket of that name is, if it has one.
    pub(crate) fn location<'a>(&'a self, bucket: &'a str) -> Option<Location<'a>> {
        Some(Location {
            url: self.options.store.as_deref()?,
            bucket,
            owner: self.owner,
            max_value: self.options.max_value,
        })
    }

    /// Whether its buckets begin by opening a store.
    pub(crate) fn is_backed(&self) -> bool {
        self.options.store.is_some()
    }
}

impl ChildSpec for BucketSpec {
    fn policy(&self) -> RestartPolicy {
        self.options.policy()
    }

    /// A store is opened first: with the starter's turn, or by the mailbox where nobody waits.
    fn start(self: Arc<Self>, place: Place) -> NamedServer {
        let system = self.around.system;
        NamedServer::new(match (self.is_backed(), place.begins_by_itself()) {
            (false, _) => BucketServer::start_bucket(self, Some(place)),
            (true, false) => Server::start_taken(system, BucketState::new(self, Some(place))),
            (true, true) => {
                let task = BucketServer::opening_task();
                Server::start_with_task(system, BucketState::new(self, Some(place)), task)
            }
        })
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
    /// What holds the one update that may be open.
    front: OnceLock<Arc<dyn Front>>,
    /// None if its contents are in memory alone.
    backed: Option<Box<Backed>>,
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
    /// Reads that found their key, as far as they are counted: where keys are evicted.
    pub hits: u64,
    /// Reads that did not, as far as they are counted.
    pub misses: u64,
    /// Keys whose time to live was over.
    pub expired: u64,
    /// Keys that were taken out to make room.
    pub evicted: u64,
    /// How it finds keys by their order.
    pub order: Order,
    /// The URL of the store that keeps its contents beyond its end, if one does.
    pub store: Option<Arc<str>>,
    /// The store is out of reach: calls wait for it.
    pub is_away: bool,
    /// What the store cannot do.
    pub lacks: Lacks,
}

/// Which calls a store answers with [`Error::Unsupported`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lacks {
    /// Several changes at once: `put_many` and `apply`.
    pub batches: bool,
    /// Times to live.
    pub ttl: bool,
    /// All keys at one instant: `clear`, `save`, `restore`.
    pub whole: bool,
}

pub(crate) enum Message {
    /// And what it is counted for while it waits.
    Put(Pair, Vec<Reservation>),
    /// What needs no memory of its own.
    PutSmall(SmallPair),
    Delete(Box<[u8]>),
    /// Keys whose time is over are to be taken out.
    Sweep,
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
        server: &Arc<BucketServer>,
        write: &Writing<'_, BucketState>,
        message: Message,
    ) -> Result<(), Error> {
        match message {
            Message::Put(pair, reserved) => {
                drop(reserved);
                write.exclusive().put(pair, Always).map(|_| ())
            }
            Message::PutSmall(pair) => {
                let key = Key::new(pair.key());
                let put = write.exclusive().put_small(key, pair.value(), Always);
                put.map(|_| ())
            }
            Message::Delete(key) => match write.exclusive().remove(Key::new(&key)) {
                Err(Error::NotFound) => Ok(()),
                removed => removed,
            },
            Message::Sweep => {
                expiry::handle(server, write);
                Ok(())
            }
        }
    }

    fn is_errand(message: &Message) -> bool {
        matches!(message, Message::Sweep)
    }

    #[inline(always)]
    fn settle(server: &Arc<BucketServer>, _write: &Writing<'_, BucketState>) {
        server.settle_times();
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
        server.begin_update(None);
        (task.run)(Deciding::new(turn, task.key));
    }

    #[inline(always)]
    fn exclusive(&self) -> &Contents {
        &self.contents
    }

    fn handles(&self) -> Option<&HandleCount> {
        Some(&self.handles)
    }

    fn waits_long(server: &BucketServer) -> bool {
        server.is_shared()
    }

    fn vacated(server: &BucketServer) {
        if let Some(backed) = server.backed() {
            backed.close(server);
        }
        if let (Some(front), true) = (server.front(), server.system().is_current()) {
            front.vacated();
        }
    }

    fn started_again(server: &Arc<BucketServer>) {
        if server.backed().is_some() {
            server.see_to_mail();
        }
    }

    fn unreachable(server: &Arc<BucketServer>) {
        // Refused if it has ended. What waits behind mail as the process is shut down lies there.
        let _ = server.stop_later();
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn close(write: &Writing<'_, BucketState>) {
        if write.exclusive().close() {
            let buckets = write.state().spec.around.buckets;
            buckets.live.remove();
            if write.exclusive().times.are_used() {
                buckets.expiry.forget(write.state());
            }
        }
    }

    fn ended(server: &Arc<BucketServer>, exit: &Exit) {
        let state = server.state();
        if let Some(backed) = server.backed() {
            backed.let_go();
        }
        state.spec.around.logs.end("bucket", state.name(), exit);
    }

    fn name(&self) -> Option<&str> {
        self.place.as_ref().map(Place::name)
    }

    fn size(&self) -> (usize, usize) {
        (self.contents.count().unwrap_or(0), self.contents.bytes())
    }
}

impl BucketState {
    fn new(spec: Arc<BucketSpec>, place: Option<Place>) -> BucketState {
        spec.around.buckets.live.add();
        let shared = place.as_ref().and_then(Place::bytes);
        let limits = Limits::new(spec.options.max_keys, spec.options.max_bytes, shared);
        let is_limited = limits.is_some();
        let contents = Contents::new(limits, spec.revisions.clone());
        let contents = contents.with_default_ttl(spec.options.default_ttl_ms());
        let contents = match spec.options.order {
            Order::Unordered => contents,
            Order::Ordered => contents.ordered(),
        };
        let contents = match spec.options.on_full {
            OnFull::Refuse => contents,
            OnFull::Evict => contents.evicting(),
        };
        let backed = spec.is_backed().then(Box::<Backed>::default);
        let contents = match backed {
            None => contents,
            Some(_) => contents.backed(),
        };
        BucketState {
            is_limited,
            contents,
            spec,
            place,
            handles: HandleCount::default(),
            subscribers: OnceLock::new(),
            front: OnceLock::new(),
            backed,
        }
    }
}

/// What a bucket answers; each as `BucketState` of the module's server, so that the boundary
/// and Rust programs share it. All but `cast`s, `name` and `exit` may block like a call.
impl BucketServer {
    /// Without a place it is one that no registry knows.
    pub(crate) fn start_bucket(spec: Arc<BucketSpec>, place: Option<Place>) -> Arc<BucketServer> {
        let system = spec.around.system;
        Server::start(system, BucketState::new(spec, place))
    }

    /// Whether a store keeps its contents.
    pub(crate) fn is_backed(&self) -> bool {
        self.backed().is_some()
    }

    pub(crate) fn log_error(&self, text: &str) {
        let state = self.state();
        state.spec.around.logs.error(state.name(), text);
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<BucketInfo, Error> {
        let (state, shared) = (self.state(), self.shared());
        let keys = match self.count(caller) {
            // Who asks what is the matter is not refused for it.
            Err(Error::Timeout) if shared.is_some_and(|shared| shared.copied.is_away()) => {
                state.contents.count()?
            }
            counted => counted?,
        };
        let cache = state.contents.cache_counts();
        let (restarts, last_exit) = state.place.as_ref().map_or((0, None), Place::history);
        Ok(BucketInfo {
            keys,
            bytes: state.contents.bytes(),
            mailbox: self.mailbox_len(),
            handled: self.handled(),
            restarts,
            last_exit,
            hits: cache.hits,
            misses: cache.misses,
            expired: state.contents.times.expired(),
            evicted: cache.evicted,
            order: state.spec.options.order,
            store: state.spec.options.store.clone(),
            is_away: shared.is_some_and(|shared| shared.copied.is_away()),
            lacks: shared.map(|shared| shared.lacks()).unwrap_or_default(),
        })
    }

    /// From now on the subscriber is told of every change.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Result<(), Error> {
        self.copy_for_watches(caller)?;
        self.await_own_casts(caller)?;
        self.with_write_lock(caller, |write| {
            let subscribers = write.state().subscribers.get_or_init(Arc::default);
            subscribers.add(subscriber);
            let observer = || Arc::clone(subscribers) as _;
            write.exclusive().observe(observer);
        })
    }

    pub(crate) fn update_cast(
        self: &Arc<Self>,
        key: &[u8],
        run: Box<dyn FnOnce(Deciding) + Send>,
    ) -> Result<(), Error> {
        let key = copy_key(key)?;
        let run = match self.is_backed() {
            false => run,
            true => self.noted_cast(run),
        };
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
        let turn = self.occupy(caller, lasts)?;
        self.begin_update(Some(caller));
        Ok(Deciding::new(turn, key))
    }

    /// As `update_begin`, by the short way: `None` if anybody is in the way. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_update_begin<K: Keyed>(
        self: &Arc<Self>,
        key: K,
        lasts: Lasts,
    ) -> Option<Deciding<K>> {
        if !reclaim::has_room() || self.is_backed() {
            return None;
        }
        let turn = match self.front().is_some() {
            // SAFETY: by `set_front`.
            true => unsafe { self.fast_occupy_kept(lasts) },
            false => self.fast_occupy(lasts),
        };
        Some(Deciding::new(turn?, key))
    }

    /// What the boundary made to hold open updates, if it did.
    #[inline(always)]
    pub(crate) fn front(&self) -> Option<&Arc<dyn Front>> {
        self.state().front.get()
    }

    /// Keeps what holds open updates, unless there is one; gives what is there. The calling thread
    /// has the turn.
    ///
    /// # Safety
    /// It has a count of the bucket, until it is told that it was vacated.
    pub(crate) unsafe fn set_front(&self, front: Arc<dyn Front>) -> &Arc<dyn Front> {
        self.state().front.get_or_init(|| front)
    }
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
