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

mod names;
mod options;
mod registered;
mod supervisor;
mod watches;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::bucket::{BucketServer, BucketSpec, BucketState, Surroundings};
use crate::error::Error;
use crate::log::{Level, Logs};
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::reclaim::Guard;
use crate::server::{AnyServer, Budget, Caller, ChildSpec, Decision, NamedServer, Place};
use crate::server::{Parent, Reservation, Server, State, System, Thread, Turn, Writing};
use crate::sync::{lock, raw_arc::Lent};
use crate::time::{Deadline, Timeout};
use crate::user_server::{UserServer, UserServerSpec, UserServerState};

use names::Names;
pub use options::RegistryOptions;
use registered::RegisteredNames;
pub(crate) use supervisor::Supervisor;

/// The longest info, in bytes: it is only logged.
const MESSAGE_LIMIT: usize = 64 << 10;

/// The longest name, in bytes.
pub const NAME_LIMIT: usize = 255;

pub(crate) type RegistryServer = Server<RegistryState>;

/// What all registries of a process share.
#[derive(Default)]
pub(crate) struct Registries {
    /// Those that have not ended.
    live: AtomicUsize,
    names: RegisteredNames,
    /// How many there were.
    drawn: AtomicU64,
}

impl Registries {
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A number that no other registry has, behind whatever restarts.
    fn draw_number(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn names(&self) -> &RegisteredNames {
        &self.names
    }
}

/// What a registry has around it, and what its buckets have.
#[derive(Clone, Copy)]
pub(crate) struct RegistrySurroundings {
    pub(crate) registries: &'static Registries,
    pub(crate) of_buckets: Surroundings,
    /// Of calls that are made for others.
    pub(crate) default_timeout_ms: i64,
}

impl RegistrySurroundings {
    pub(crate) fn system(&self) -> &'static System {
        self.of_buckets.system
    }

    pub(crate) fn logs(&self) -> &'static Logs {
        self.of_buckets.logs
    }
}

pub(crate) struct RegistryState {
    names: Names,
    supervisor: Weak<Supervisor>,
    around: RegistrySurroundings,
    /// What it is registered as itself.
    name: Option<Box<str>>,
    max_mailbox: usize,
    /// For buckets without options of their own.
    spec: Arc<BucketSpec>,
    /// What all buckets together may hold, and how many there may be.
    bytes: Option<Arc<Budget>>,
    buckets: Option<Arc<Budget>>,
    /// As `buckets`, of user's servers.
    servers: Option<Arc<Budget>>,
    /// How many names are those of user's servers.
    server_names: AtomicUsize,
    /// The children that it had when it closed, until they have ended. There is room for all it has
    /// from the moment each was started: to end must not fail for want of memory.
    leaving: Mutex<Vec<Arc<dyn AnyServer>>>,
    /// Those whose names went first, until they have ended: who stops the registry ends them too.
    going: Mutex<Vec<Arc<dyn AnyServer>>>,
}

/// What there is to know about a registry.
///
/// ```
/// let registry = kvreg::Registry::start()?;
/// registry.create("shopping")?.put("milk", 1)?;
/// let info = registry.info()?;
/// assert_eq!((info.buckets, info.keys), (1, 1));
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryInfo {
    /// Buckets that have a name.
    pub buckets: usize,
    /// Keys of all buckets, while each is looked at.
    pub keys: usize,
    /// Bytes of keys and values of all buckets, while each is looked at.
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
    Create(Box<str>, Option<Reservation>),
    /// Anything else that was sent: unexpected.
    Info(Box<[u8]>),
}

/// A registry runs no user code.
pub(crate) enum Never {}

// SAFETY: `exclusive` answers the state's own names.
unsafe impl State for RegistryState {
    type Exclusive = Names;
    type Message = Message;
    type Task = Never;

    fn handle(
        server: &Arc<RegistryServer>,
        write: &Writing<'_, RegistryState>,
        message: Message,
    ) -> Result<(), Error> {
        match message {
            Message::Create(name, reserved) => {
                drop(reserved);
                let begins = Begins::Alone;
                let (child, is_new) =
                    server.create_now(write, &name, None, Sort::Bucket, begins)?;
                if is_new {
                    Arc::clone(child.any()).started_again();
                }
                Ok(())
            }
            Message::Info(message) => {
                let logs = server.logs();
                if logs.wants(Level::Debug) {
                    let message = message.escape_ascii();
                    let said = format_args!("unexpected message in registry: \"{message}\"");
                    let text = memory::written(said).unwrap_or_default();
                    logs.debug(server.state().name(), &text);
                }
                Ok(())
            }
        }
    }

    fn queue(server: &RegistryServer, message: &mut Message) -> Result<(), Error> {
        let state = server.state();
        if let (Message::Create(name, reserved), Some(buckets)) = (message, &state.buckets) {
            if let Err(Error::NotFound) = state.names.find(name) {
                *reserved = Some(buckets.reserve(1)?);
            }
        }
        Ok(())
    }

    fn refused(server: &Arc<RegistryServer>, error: &Error) {
        let text = format!("a bucket was not created: {error}");
        server.logs().error(server.state().name(), &text);
    }

    fn mailbox_limit(&self) -> usize {
        self.max_mailbox
    }

    fn run(_turn: Turn<RegistryState>, task: Never) {
        match task {}
    }

    /// Its own name goes only if it does not come back.
    fn unregister(server: &Arc<RegistryServer>, reason: Reason) {
        if !supervisor::comes_back(server.system(), reason) {
            if let Some(supervisor) = server.state().supervisor.upgrade() {
                server.state().around.registries.names.forget(&supervisor);
            }
        }
    }

    /// A registry takes its buckets along.
    fn closed(server: &Arc<RegistryServer>, reason: Reason) {
        server.close();
        let leaving = &server.state().leaving;
        let child = |at: usize| lock(leaving).get(at).map(Arc::clone);
        for child in (0..).map_while(child) {
            child.end_at_once(Exit::new(Reason::Shutdown, ""));
        }
        let going = lock(&server.state().going).clone();
        for child in going {
            child.end_at_once(Exit::new(Reason::Shutdown, ""));
        }
        let ended = std::mem::take(&mut *lock(&server.state().leaving));
        drop(ended); // outside the lock: it may be the last to know them
        if let Some(supervisor) = server.state().supervisor.upgrade() {
            supervisor.replace(server, reason);
        }
    }

    #[inline(always)]
    fn exclusive(&self) -> &Names {
        &self.names
    }

    fn close(write: &Writing<'_, RegistryState>) {
        let (state, names) = (write.state(), write.exclusive());
        if names.close(|child| lock(&state.leaving).push(Arc::clone(child))) {
            state.around.registries.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn ended(server: &Arc<RegistryServer>, exit: &Exit) {
        server.logs().end("registry", server.state().name(), exit);
    }

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl RegistryServer {
    /// Asked for by its supervisor.
    fn start_registry(
        around: RegistrySurroundings,
        supervisor: Weak<Supervisor>,
        options: &RegistryOptions,
        spec: Arc<BucketSpec>,
    ) -> Arc<RegistryServer> {
        around.registries.live.fetch_add(1, Ordering::Relaxed);
        Server::start(
            around.system(),
            RegistryState {
                names: Names::new(spec.revisions.clone()),
                supervisor,
                around,
                name: options.name.as_deref().map(Box::from),
                max_mailbox: options.max_mailbox,
                spec,
                bytes: Budget::limited("bytes of a registry", options.max_bytes),
                buckets: Budget::limited("buckets of a registry", options.max_buckets),
                servers: Budget::limited("servers of a registry", options.max_servers),
                server_names: AtomicUsize::new(0),
                leaving: Mutex::default(),
                going: Mutex::default(),
            },
        )
    }

    fn logs(&self) -> &'static Logs {
        self.state().around.logs()
    }

    /// How a bucket with these options is started here.
    pub(crate) fn spec_of(&self, options: crate::bucket::BucketOptions) -> Arc<BucketSpec> {
        let state = self.state();
        Arc::new(BucketSpec {
            options,
            around: state.around.of_buckets,
            revisions: state.spec.revisions.clone(),
            owner: state.spec.owner,
        })
    }

    /// The bucket of that name, started if there is none; `exclusive`: only if there is none.
    /// The specification is for one that is started now; the registry has one of its own.
    pub(crate) fn create(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        exclusive: bool,
        spec: Option<Arc<BucketSpec>>,
    ) -> Result<Arc<BucketServer>, Error> {
        loop {
            let (bucket, is_new) = self.call(caller, |write| {
                let spec = spec.clone().map(|spec| spec as _);
                match self.create_now(write, name, spec, Sort::Bucket, Begins::WithTurn)? {
                    (child, false) if exclusive => {
                        bucket_of(&child)?;
                        Err(Error::AlreadyStarted)
                    }
                    (child, is_new) => Ok((bucket_of(&child)?, is_new)),
                }
            })??;
            if bucket.is_open() {
                return Ok(bucket);
            }
            // Outside the registry's turn: a store may take its time.
            if is_new {
                bucket.open_first(caller, bucket.first_turn())?;
                return Ok(bucket);
            }
            match bucket.await_open(caller) {
                Ok(()) => return Ok(bucket),
                Err(Error::ServerDown) => {} // as in `lookup`
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The user's server of that name, and whether it was started now: then its first turn is the
    /// caller's. The specification is for one that is started now.
    pub(crate) fn start_server(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        spec: Arc<UserServerSpec>,
    ) -> Result<(Arc<UserServer>, bool), Error> {
        self.call(caller, |write| {
            let (sort, begins) = (Sort::Server, Begins::WithTurn);
            let started = self.create_now(write, name, Some(spec as _), sort, begins);
            let (child, is_new) = started?;
            Ok((server_of(&child)?, is_new))
        })?
    }

    /// The user's server that has the name now. Waits only for casts of the calling thread.
    pub(crate) fn lookup_server(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<Arc<UserServer>, Error> {
        self.await_own_casts(caller)?;
        server_of(&self.state().names.find(name)?)
    }

    /// Sees to it that there is a bucket of that name, without an answer and without waiting.
    pub(crate) fn create_cast(self: &Arc<Self>, name: &str) -> Result<(), Error> {
        self.cast(Message::Create(name.into(), None))
    }

    /// The child, and whether it was started now.
    fn create_now(
        self: &Arc<Self>,
        write: &Writing<'_, RegistryState>,
        name: &str,
        spec: Option<Arc<dyn ChildSpec>>,
        sort: Sort,
        begins: Begins,
    ) -> Result<(NamedServer, bool), Error> {
        let state = write.state();
        match write.exclusive().find(name) {
            Ok(found) => return Ok((found, false)),
            Err(Error::NotFound) => {}
            Err(_) => return Err(Error::ServerDown),
        }
        let children = write.exclusive().count()? + 1;
        memory::without_reserve(|| lock(&state.leaving).try_reserve(children))
            .map_err(|_| Error::NoMemory)?;
        state.count_in(sort)?;
        let spec = spec.unwrap_or_else(|| Arc::clone(&state.spec) as _);
        let parent: Weak<dyn Parent> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn Parent>));
        let place = Place::new(parent, name, spec, state.bytes.clone());
        let place = match begins {
            Begins::WithTurn => place,
            Begins::Alone => place.alone(),
        };
        match write.exclusive().put(place) {
            Ok(child) => Ok((child, true)),
            Err(error) => {
                state.count_out(sort);
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
        self.await_own_casts(caller)?;
        loop {
            let bucket = bucket_of(&self.state().names.find(name)?)?;
            match bucket.await_open(caller) {
                Ok(()) => return Ok(bucket),
                // It ended as it began: the name leads to another one by now, or to none.
                Err(Error::ServerDown) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The short way, where casts of the calling thread are not waiting: `None` if anything is
    /// out of the ordinary, as a name that is not there. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_lookup<'g>(
        &'g self,
        name: &[u8],
        pinned: &'g Guard,
    ) -> Option<Lent<'g, BucketServer>> {
        let found: Lent<'g, BucketServer> =
            self.state().names.fast_find(name, pinned)?.as_kind()?;
        found.is_open().then_some(found)
    }

    fn decide(&self, place: &Place, reason: Reason) -> Decision {
        // A registry that ends takes its buckets along, for good.
        let is_shut_down = self.system().threads().is_shut_down();
        if place.is_removed() || self.exit_reason().is_some() || is_shut_down {
            return Decision::Leave;
        }
        place.decide(reason, Instant::now())
    }

    /// As `remove`, of a bucket; and erases what a store keeps of it, or of one that had the name:
    /// where the registry's own buckets are. `Error::NotFound` if there is neither.
    pub(crate) fn erase(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<(), Error> {
        self.await_own_casts(caller)?;
        loop {
            let bucket = match self.state().names.find(name) {
                Ok(found) => bucket_of(&found)?,
                Err(Error::NotFound) => {
                    let spec = &self.state().spec;
                    let location = spec.location(name).ok_or(Error::NotFound)?;
                    let deadline = caller.begin_blocking();
                    return spec.around.engines.destroy(&location, &deadline);
                }
                Err(refused) => return Err(refused),
            };
            if !bucket.is_backed() {
                return self.remove(caller, name);
            }
            match bucket.erase(caller) {
                Err(Error::NoProcess) => {} // as in `lookup`
                erased => return erased,
            }
        }
    }

    /// Ends the bucket of that name for good, reason SHUTDOWN, whatever its restart option
    /// (OTP's `terminate_child`). Of several who do so one is told that it did; to the others
    /// there is no such bucket any more.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<(), Error> {
        let (child, is_first) = self.call(caller, |write| {
            let found = write.exclusive().find(name);
            let child = found.map_err(|error| match error {
                Error::NoProcess => Error::ServerDown,
                error => error,
            })?;
            let server = child.any();
            if server.wants_end() && server.would_wait_for_caller() {
                return Err(Error::CallingSelf); // it is told first
            }
            let is_first = child.any().place().is_some_and(Place::claim_removal);
            Ok((child, is_first))
        })??;
        let exit = Exit::new(Reason::Shutdown, "removed");
        let server = child.any();
        if is_first && Arc::clone(server).begin_end(&exit) {
            Arc::clone(server).finish_begun_end(&Timeout::Never.deadline());
        }
        // Others too: what they are told is not there must be gone.
        Arc::clone(server).end_at_once(exit);
        match is_first {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<RegistryInfo, Error> {
        self.await_own_casts(caller)?;
        let buckets = self.with_write_lock(caller, |write| write.exclusive().all_buckets())??;
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
        self.await_own_casts(caller)?;
        let state = self.state();
        let all = state.names.count()?;
        if state.server_names.load(Ordering::SeqCst) == 0 {
            return Ok(all);
        }
        self.with_write_lock(caller, |_| {
            let servers = state.server_names.load(Ordering::SeqCst);
            Ok(state.names.count()?.saturating_sub(servers))
        })?
    }

    /// A snapshot of the names of one sort.
    pub(crate) fn names(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        sort: Sort,
    ) -> Result<Vec<String>, Error> {
        self.await_own_casts(caller)?;
        let is_such = |child: &NamedServer| Sort::of(child) == sort;
        let names = self.with_write_lock(caller, |write| write.exclusive().names(is_such))??;
        Ok(names)
    }

    /// An info: a message that nobody expects. Logged at debug and dropped.
    pub(crate) fn send(self: &Arc<Self>, message: &[u8]) -> Result<(), Error> {
        if message.len() > MESSAGE_LIMIT {
            return Err(Error::InvalidArgument("a message has at most 65536 bytes"));
        }
        let message = memory::bytes(message).ok_or(Error::NoMemory)?;
        self.cast(Message::Info(message))
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub(crate) fn stop_all(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if !self.has_ended() && self.would_stop_caller() {
            return Err(Error::CallingSelf);
        }
        if self.state().server_names.load(Ordering::SeqCst) > 0 {
            let deadline = caller.begin_blocking();
            self.end_servers_in_order(&deadline);
        }
        self.stop(caller)
    }

    /// Ends user's servers that want to know, all at once.
    pub(crate) fn end_servers_in_order(self: &Arc<Self>, deadline: &Deadline) {
        let exit = Exit::new(Reason::Shutdown, "");
        let all = self.with_write_lock_even_ended(|write| write.exclusive().all());
        let mut servers = all.unwrap_or_default();
        servers.retain(|server| {
            if !server.wants_end() {
                return false;
            }
            if let Some(place) = server.place() {
                place.claim_removal(); // it is not started again
            }
            Arc::clone(server).begin_end(&exit)
        });
        for server in servers {
            server.finish_begun_end(deadline);
        }
    }

    /// Whether user code of the calling thread has the turn of one of the buckets, or one of them
    /// waits for that.
    fn would_stop_caller(&self) -> bool {
        if !Thread::holds_a_turn() {
            return false;
        }
        let would_wait = |child: &Arc<dyn AnyServer>| child.would_wait_for_caller();
        self.with_write_lock_even_ended(|write| write.exclusive().any(would_wait))
    }
}

impl Parent for RegistryServer {
    fn child_ends(self: Arc<Self>, child: &Arc<dyn AnyServer>, place: &Place, reason: Reason) {
        let mut again = None;
        let decision = self.with_write_lock_even_ended(|write| {
            let (state, names) = (write.state(), write.exclusive());
            let sort = match names.find(place.name()) {
                Ok(found) if Arc::ptr_eq(found.any(), child) => Sort::of(&found),
                _ => return Ok(Decision::Leave),
            };
            let mut going = lock(&state.going);
            if going.try_reserve(1).is_ok() {
                going.push(Arc::clone(child));
            }
            drop(going);
            let mut decision = Ok(self.decide(place, reason));
            if let Ok(Decision::Restart) = decision {
                match names.put(place.again()) {
                    Ok(child) => {
                        again = Some(child);
                        return decision;
                    }
                    Err(error) => decision = Err(error),
                }
            }
            names.remove(place.name());
            state.count_out(sort);
            decision
        });
        if let Some(again) = again {
            Arc::clone(again.any()).started_again();
        }
        let (logs, name) = (self.logs(), Some(place.name()));
        match decision {
            Ok(Decision::Leave) => {}
            Ok(Decision::Restart) => logs.info(name, "bucket restarted"),
            Ok(Decision::GiveUp) => {
                logs.error(name, "bucket restarted too often: it stays down");
            }
            Err(error) => logs.error_of(name, format_args!("bucket not restarted: {error}")),
        }
    }

    fn child_ended(&self, child: &Arc<dyn AnyServer>) {
        let ended = {
            let mut going = lock(&self.state().going);
            let place = going.iter().position(|it| Arc::ptr_eq(it, child));
            place.map(|place| going.swap_remove(place))
        };
        drop(ended); // outside the lock
    }
}

impl RegistryState {
    fn limit_of(&self, sort: Sort) -> Option<&Arc<Budget>> {
        match sort {
            Sort::Bucket => self.buckets.as_ref(),
            Sort::Server => self.servers.as_ref(),
        }
    }

    /// A child more, if there may be one.
    fn count_in(&self, sort: Sort) -> Result<(), Error> {
        let limit = self.limit_of(sort);
        limit.map_or(Ok(()), |limit| limit.change(0, 1))?;
        if sort == Sort::Server {
            self.server_names.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A child less.
    fn count_out(&self, sort: Sort) {
        if let Some(limit) = self.limit_of(sort) {
            limit.give_back(1);
        }
        if sort == Sort::Server {
            self.server_names.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// How a child begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// With the first turn of who starts it.
    WithTurn,
    /// Nobody waits for it.
    Alone,
}

/// Which sort of child has a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Bucket,
    Server,
}

impl Sort {
    fn of(child: &NamedServer) -> Sort {
        match child.is_kind::<BucketState>() {
            true => Sort::Bucket,
            false => Sort::Server,
        }
    }
}

fn server_of(child: &NamedServer) -> Result<Arc<UserServer>, Error> {
    let server = child.as_kind::<UserServerState>().ok_or(Error::WrongKind)?;
    Ok(Arc::clone(&server))
}

/// The child as what it is asked for.
fn bucket_of(child: &NamedServer) -> Result<Arc<BucketServer>, Error> {
    let bucket = child.as_kind().ok_or(Error::WrongKind)?;
    Ok(Arc::clone(&bucket))
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
