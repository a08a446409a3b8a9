//! From handles to objects. A call finds its object without touching a count: the epoch's
//! pin keeps it. If the call must wait, it takes a count first and gives up the pin.

use std::collections::LinkedList;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

use super::argument::Out;
use super::begun;
use super::fast::fast;
use super::items::Items;
use super::replies::Deferred;
use super::status::{Failure, Status};
use super::turns;
use crate::bucket::BucketServer;
use crate::error::Error;
use crate::handle_table::{Invalid, Kind, Removed};
use crate::inbox::InboxCore;
use crate::listener::ListenerCore;
use crate::memory;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::registry::RegistryServer;
use crate::registry::Supervisor;
use crate::runtime::platform;
use crate::server::{AnyServer, Caller, Server, State};
use crate::sync::raw_arc;
use crate::time::Timeout;
use crate::user_server::UserServer;

/// The types of handles: never looked into.
pub struct kvreg_registry(());
pub struct kvreg_bucket(());
pub struct kvreg_update(());
pub struct kvreg_items(());
pub struct kvreg_inbox(());
pub struct kvreg_listener(());
pub struct kvreg_server(());
pub struct kvreg_turn(());
pub struct kvreg_reply(());

/// Which object a type of handle leads to.
///
/// # Safety
/// The handles of this kind, and no others, are made for objects of this type.
pub(super) unsafe trait Handle {
    const KIND: Kind;
    type Object: Object;
}

pub(super) trait Object: Send + Sync + 'static {
    /// A handle was made for it.
    fn made(self: &Arc<Self>) {}
    /// Another handle is made from one that may just be freed; `false` if it was the last.
    fn made_another(self: &Arc<Self>) -> bool {
        true
    }
    /// A handle of it was freed, while others may still be in a call. Must not block.
    fn freed(self: &Arc<Self>) {}
    /// Who meets its end helps it along, and may run the user's destructors.
    fn has_ended(&self) -> bool {
        false
    }
}

impl<S: State> Object for Server<S> {
    fn made(self: &Arc<Self>) {
        self.add_handle();
    }
    fn made_another(self: &Arc<Self>) -> bool {
        self.add_another_handle()
    }
    fn freed(self: &Arc<Self>) {
        self.drop_handle();
    }
    fn has_ended(&self) -> bool {
        Server::has_ended(self)
    }
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_registry {
    const KIND: Kind = Kind::Registry;
    type Object = Supervisor;
}

impl Object for Supervisor {
    fn made(self: &Arc<Self>) {
        self.add_handle();
    }
    fn made_another(self: &Arc<Self>) -> bool {
        self.add_another_handle()
    }
    fn freed(self: &Arc<Self>) {
        self.drop_handle();
    }
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_bucket {
    const KIND: Kind = Kind::Bucket;
    type Object = BucketServer;
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_items {
    const KIND: Kind = Kind::Items;
    type Object = Items;
}

impl Object for Items {
    fn freed(self: &Arc<Self>) {
        self.forget();
    }
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_inbox {
    const KIND: Kind = Kind::Inbox;
    type Object = InboxCore;
}

impl Object for InboxCore {
    fn freed(self: &Arc<Self>) {
        self.close();
    }
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_listener {
    const KIND: Kind = Kind::Listener;
    type Object = ListenerCore;
}

impl Object for ListenerCore {
    fn freed(self: &Arc<Self>) {
        self.stop_later();
    }
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_server {
    const KIND: Kind = Kind::Server;
    type Object = UserServer;
}

// SAFETY: the only type of this kind.
unsafe impl Handle for kvreg_reply {
    const KIND: Kind = Kind::Reply;
    type Object = Deferred;
}

impl Object for Deferred {
    fn freed(self: &Arc<Self>) {
        self.give_up();
    }
}

/// A server of any kind, as a handle leads to it.
#[derive(Clone, Copy)]
pub(super) enum AnyKind<'a> {
    Server(&'a Arc<UserServer>),
    Bucket(&'a Arc<BucketServer>),
    Registry(&'a Arc<RegistryServer>),
}

impl<'a> AnyKind<'a> {
    /// One that a user wrote, or why others cannot do that.
    pub(super) fn user_server(self, only: &'static str) -> Result<&'a Arc<UserServer>, Failure> {
        match self {
            AnyKind::Server(server) => Ok(server),
            _ => Err(Error::Unsupported(only).into()),
        }
    }

    pub(super) fn as_any(&self) -> Arc<dyn AnyServer> {
        match self {
            AnyKind::Server(server) => server.as_any(),
            AnyKind::Bucket(bucket) => bucket.as_any(),
            AnyKind::Registry(registry) => registry.as_any(),
        }
    }
}

/// Runs `work` with the server of a handle, of whatever kind.
pub(super) fn with_any_kind<R>(
    needs: Needs,
    handle: *mut kvreg_server,
    work: impl FnOnce(AnyKind<'_>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    match Kind::claimed(token(handle)) {
        Some(Kind::Bucket) => with_needs(needs, handle.cast::<kvreg_bucket>(), |bucket, caller| {
            work(AnyKind::Bucket(bucket), caller)
        }),
        Some(Kind::Registry) => with_registry_needs(needs, handle.cast(), |registry, caller| {
            work(AnyKind::Registry(registry), caller)
        }),
        _ => with_needs(needs, handle, |server, caller| {
            work(AnyKind::Server(server), caller)
        }),
    }
}

/// As `with_both`, with servers of whatever kinds.
pub(super) fn with_both_kinds<R>(
    needs: Needs,
    first: *mut kvreg_server,
    second: *mut kvreg_server,
    work: impl FnOnce(AnyKind<'_>, AnyKind<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let outcome = with_any_kind(needs, first, |first, _| {
        with_any_kind(needs, second, |second, _| Ok(work(first, second)))
    });
    match outcome {
        Ok(worked) => worked,
        Err(failure) => Err(or_of_second_kind(failure, second)),
    }
}

/// As `or_of_second`, where the second is a server of whatever kind.
pub(super) fn or_of_second_kind(failure: Failure, second: *mut kvreg_server) -> Failure {
    match with_any_kind(Needs::Nothing, second, |_, _| Ok(())) {
        Err(other) if other.comes_before(&failure) => other,
        _ => failure,
    }
}

/// A handle that messages bring, and nobody frees: it has a count of its own.
pub(super) fn insert_uncounted(server: &Arc<UserServer>) -> Result<u64, Error> {
    let process = Process::current();
    let timeout_ms = process.options().default_timeout_ms;
    let counted = Arc::clone(server);
    let (kind, object) = (Kind::Server, raw_arc::pointer(&counted));
    // Counted before it is there, and as long as it is: who counts handles takes these away.
    process.user_servers().count_self(true);
    let inserted = process.handles().insert(kind, object, timeout_ms);
    let token = inserted.inspect_err(|_| process.user_servers().count_self(false))?;
    raw_arc::keep(counted); // the table's now
    Ok(token)
}

/// Ends such a handle.
pub(super) fn remove_uncounted(process: &'static Process, token: u64) {
    if let Ok(removed) = process.handles().remove(token, Kind::Server) {
        let bytes = size_of::<UserServer>();
        retire::<UserServer>(process, removed, bytes, &reclaim::pin());
    }
    process.user_servers().count_self(false);
}

#[inline(always)]
pub(super) fn token<H>(handle: *mut H) -> u64 {
    handle.addr() as u64
}

/// Whether a token is a handle of the process that this one forked from.
pub(super) fn is_inherited_handle(token: u64) -> bool {
    Process::inherited().any(|process| process.handles().knows(token))
}

/// Whether a token was a handle of the process that this one forked from.
pub(super) fn is_inherited(token: u64) -> bool {
    let knows = |process: &Process| process.handles().knows(token) || process.is_shut_down();
    Process::inherited().any(knows)
}

/// Why a token that is not in the table is not there.
pub(super) fn missing(token: u64, invalid: Invalid) -> Failure {
    if is_inherited(token) {
        return Status::Forked.into();
    }
    if Process::if_any().is_some_and(Process::is_shut_down) {
        return Status::ShutDown.into();
    }
    match invalid {
        Invalid::Bad => Status::BadHandle.into(),
        Invalid::WrongKind => Status::WrongKind.into(),
    }
}

/// What a call needs before it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// That the reserve of memory is whole: so nothing in it has to abort.
    Memory,
    /// Nothing: it releases, and gives back more than it takes.
    Nothing,
}

/// Runs `work` with the object of a handle. Others may free the handle meanwhile.
pub(super) fn with<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(Needs::Memory, handle, work)
}

/// As `with`, for what releases: it does not fail for want of memory.
pub(super) fn releasing<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(Needs::Nothing, handle, work)
}

pub(super) fn with_needs_of<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(needs, handle, work)
}

fn with_needs<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_timeout(needs, handle, |object, _, caller| {
        if object.has_ended() {
            caller.unpin();
        }
        work(object, caller)
    })
}

/// Runs `work` with the registry of a handle: the one that is there now.
pub(super) fn with_registry<R>(
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_registry_needs(Needs::Memory, handle, work)
}

/// As `with_registry`, for what releases.
pub(super) fn releasing_registry<R>(
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_registry_needs(Needs::Nothing, handle, work)
}

fn with_registry_needs<R>(
    needs: Needs,
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(needs, handle, |supervisor, caller| {
        let mut pinned = Some(reclaim::pin());
        let registry = supervisor.current(pinned.as_ref().expect("just pinned"));
        let mut counted = None;
        let timeout = caller.timeout();
        let mut unpin = || {
            counted = Some(Arc::clone(&registry)); // keeps it from here on
            pinned = None;
            caller.unpin();
        };
        let mut caller = Caller::unpinning(timeout, &mut unpin);
        if registry.has_ended() {
            caller.unpin();
        }
        work(&registry, &mut caller)
    })
}

/// Runs `work` with the objects of two handles. Of what is wrong with either, what comes first in
/// the header's order of statuses is told.
pub(super) fn with_both<A: Handle, B: Handle, R>(
    needs: Needs,
    first: *mut A,
    second: *mut B,
    work: impl FnOnce(&Arc<A::Object>, &Arc<B::Object>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let outcome = with_needs(needs, first, |first, _| {
        with_needs(needs, second, |second, _| Ok(work(first, second)))
    });
    match outcome {
        Ok(worked) => worked,
        Err(failure) => match releasing(second, |_, _| Ok(())) {
            Err(other) if other.comes_before(&failure) => Err(other),
            _ => Err(failure),
        },
    }
}

/// What is told of two handles, if the first failed so: what is wrong with the second, where that
/// comes first in the header's order.
pub(super) fn or_of_second<H: Handle>(failure: Failure, second: *mut H) -> Failure {
    match releasing(second, |_, _| Ok(())) {
        Err(other) if other.comes_before(&failure) => other,
        _ => failure,
    }
}

/// As `with`, with the place of the handle's timeout in milliseconds: good until the caller
/// lets go.
fn with_timeout<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &AtomicI64, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let (mut work, mut done) = (Some(work), None);
    with_any(needs, handle, &mut |object, timeout_ms, caller| {
        if let Some(work) = work.take() {
            done = Some(work(object, timeout_ms, caller)?);
        }
        Ok(())
    })?;
    done.ok_or_else(|| Status::Internal.into()) // it has run
}

/// What is done with an object: its handle's timeout is the second.
type Work<'w, H> =
    dyn FnMut(&Arc<<H as Handle>::Object>, &AtomicI64, &mut Caller<'_>) -> Result<(), Failure> + 'w;

/// Written once in the library for each kind of handle.
#[inline(never)]
fn with_any<H: Handle>(
    needs: Needs,
    handle: *mut H,
    work: &mut Work<'_, H>,
) -> Result<(), Failure> {
    if platform::is_ending() {
        return Err(Status::ShutDown.into());
    }
    let token = token(handle);
    let process = Process::if_any().ok_or_else(|| missing(token, Invalid::Bad))?;
    let mut pinned: Option<Guard> = Some(reclaim::pin());
    let found = process
        .handles()
        .get(token, H::KIND, pinned.as_ref().expect("just pinned"))
        .map_err(|invalid| missing(token, invalid))?;
    let timeout_ms = found.timeout;
    let timeout = Timeout::from_millis(timeout_ms.load(Ordering::Relaxed))?;
    // SAFETY: the table holds a count of this Arc for the handle, which is given up only
    // through the epoch (`free`): it is there as long as `pinned` is. The copy here is never
    // dropped, so no count changes.
    let object = unsafe { raw_arc::kept::<H::Object>(found.object) };
    let mut counted = None;
    let mut unpin = || {
        counted = Some(Arc::clone(&object)); // from here on the object is kept by this count
        pinned = None;
    };
    let mut caller = Caller::unpinning(timeout, &mut unpin);
    if needs == Needs::Memory && !memory::is_ready() {
        caller.unpin(); // to free what waits
        Process::with_memory()?;
    }
    work(&object, timeout_ms, &mut caller)
}

/// Makes a handle for an object, and sets the output to it.
pub(super) fn make<H: Handle>(object: Arc<H::Object>, handle: &Out<*mut H>) -> Result<(), Failure> {
    object.made();
    let timeout_ms = Process::current().options().default_timeout_ms;
    insert(object, timeout_ms, handle)
}

/// Makes a handle for an object that has counted it already.
fn insert<H: Handle>(
    object: Arc<H::Object>,
    timeout_ms: i64,
    handle: &Out<*mut H>,
) -> Result<(), Failure> {
    let process = Process::current();
    let inserted = process
        .handles()
        .insert(H::KIND, raw_arc::pointer(&object), timeout_ms);
    let token = match inserted {
        Ok(token) => token,
        Err(error) => {
            object.freed();
            return Err(error.into());
        }
    };
    raw_arc::keep(object); // the table's now
    let made: *mut H = std::ptr::without_provenance_mut(token as usize);
    // Either `shutdown` sees this handle and ends it, or this thread sees the shutdown.
    reclaim::light();
    if process.is_shut_down() {
        let _ = free(made);
        return Err(Status::ShutDown.into());
    }
    handle.set(made);
    Ok(())
}

/// The short way to a handle of a registered bucket: see `fast`. `None` if that fails.
#[inline(always)]
pub(super) fn fast_make(bucket: &Arc<BucketServer>) -> Option<*mut kvreg_bucket> {
    let process = Process::if_any()?;
    let counted = Arc::clone(bucket);
    let (kind, object) = (kvreg_bucket::KIND, raw_arc::pointer(&counted));
    let timeout_ms = process.options().default_timeout_ms;
    let token = process.handles().insert(kind, object, timeout_ms).ok()?;
    raw_arc::keep(counted); // the table's now
    let made = std::ptr::without_provenance_mut(token as usize);
    reclaim::light(); // as in `insert`
    if process.is_shut_down() {
        let _ = free::<kvreg_bucket>(made);
        return None;
    }
    Some(made)
}

/// What a handle takes in its table.
const SLOT: usize = 64;

/// The short way to end a handle of a registered bucket: `None` if nothing was done.
#[inline(always)]
pub(super) fn fast_free(handle: *mut kvreg_bucket) -> Option<()> {
    fast(handle, |bucket, pinned| {
        if !bucket.is_registered() {
            return None; // perhaps its last
        }
        let process = Process::if_any()?;
        let removed = process.handles().remove(token(handle), kvreg_bucket::KIND);
        // It gives back a count and a slot, unless the bucket is gone but for its handles: else a
        // thread that only looks buckets up would collect, and disturb all others, all the time.
        let bytes = match bucket.has_ended() {
            true => size_of::<BucketServer>(),
            false => SLOT,
        };
        retire::<BucketServer>(process, removed.ok()?, bytes, pinned);
        Some(())
    })
}

/// Another handle to the same object, with the same timeout.
pub(super) fn clone<H: Handle>(handle: *mut H, clone: Out<*mut H>) -> Result<(), Failure> {
    with_timeout(Needs::Memory, handle, |object, timeout_ms, _| {
        clone.required()?;
        if !object.made_another() {
            return Err(Status::BadHandle.into());
        }
        let timeout_ms = timeout_ms.load(Ordering::Relaxed);
        insert(Arc::clone(object), timeout_ms, &clone)
    })
}

/// Sets the timeout of calls through a handle.
pub(super) fn set_timeout<H: Handle>(handle: *mut H, timeout_ms: i64) -> Result<(), Failure> {
    with_timeout(Needs::Nothing, handle, |_, place, _| {
        Timeout::from_millis(timeout_ms)?;
        place.store(timeout_ms, Ordering::Relaxed);
        Ok(())
    })
}

/// Ends a handle. NULL is fine, and after `shutdown` every handle is.
pub(super) fn free<H: Handle>(handle: *mut H) -> Result<(), Failure> {
    if handle.is_null() || platform::is_ending() {
        return Ok(());
    }
    let token = token(handle);
    if is_inherited_handle(token) {
        return Ok(()); // the parent's, and none of the child's business
    }
    let Some(process) = Process::if_any() else {
        return match is_inherited(token) {
            true => Ok(()),
            false => Err(missing(token, Invalid::Bad)),
        };
    };
    match process.handles().remove(token, H::KIND) {
        Ok(removed) => {
            retire_counted::<H::Object>(process, removed).freed();
            Ok(())
        }
        Err(_) if process.is_shut_down() || is_inherited(token) => Ok(()),
        Err(invalid) => Err(missing(token, invalid)),
    }
}

/// The count that the table had of an object.
///
/// # Safety
/// `remove` handed it out, once, and for a handle to such an object.
unsafe fn taken<T>(object: *const ()) -> Arc<T> {
    // SAFETY: made by `kept` of an `Arc` of this type, whose count is taken over.
    ManuallyDrop::into_inner(unsafe { raw_arc::kept(object) })
}

/// Drops the table's count and gives up a slot when no call on another thread relies on them.
/// `bytes` is about what that gives back.
fn retire<T: Send + Sync + 'static>(
    process: &'static Process,
    removed: Removed,
    bytes: usize,
    pinned: &Guard,
) {
    /// Called where the thread is of the process that ended the handle.
    fn release<T>(Removed { object, slot, .. }: Removed) {
        let process = Process::if_any();
        // SAFETY: the table's own count, which `remove` hands out once, and for such an object.
        drop(unsafe { taken::<T>(object) });
        if let Some(process) = process {
            process.handles().give_back(slot);
        }
    }
    process
        .handles()
        .retire(removed, release::<T>, bytes, pinned);
}

/// As `retire`, with a count for the caller: whatever becomes of the rest, others may be using it.
fn retire_counted<T: Send + Sync + 'static>(process: &'static Process, removed: Removed) -> Arc<T> {
    let pinned = reclaim::pin();
    // SAFETY: the table's count, of such an object, is given up through the epoch.
    let kept = unsafe { raw_arc::kept::<T>(removed.object) };
    let object = Arc::clone(&kept);
    retire::<T>(process, removed, size_of::<T>(), &pinned);
    object
}

/// Ends all handles and what they lead to; inboxes last, so that they get what the servers
/// have to say.
pub(crate) fn free_all(process: &'static Process) {
    let mut inboxes = LinkedList::new(); // each by itself: there may be many, and no memory
    process.handles().remove_all(|kind, removed| match kind {
        Kind::Registry => {
            let registry = retire_counted::<Supervisor>(process, removed);
            registry.registry().end(shut_down());
        }
        Kind::Bucket => retire_counted::<BucketServer>(process, removed).end(shut_down()),
        Kind::Update => drop(begun::taken(removed)),
        Kind::Items => retire_counted::<Items>(process, removed).freed(),
        Kind::Listener => retire_counted::<ListenerCore>(process, removed).freed(),
        Kind::Server => retire_counted::<UserServer>(process, removed).end(shut_down()),
        Kind::Turn => drop(turns::taken(removed)),
        Kind::Reply => retire_counted::<Deferred>(process, removed).give_up(),
        Kind::Inbox => inboxes.push_back(removed),
    });
    for removed in inboxes {
        retire_counted::<InboxCore>(process, removed).freed();
    }
    reclaim::tidy_all();
}

fn shut_down() -> crate::reason::Exit {
    crate::reason::Exit::new(crate::reason::Reason::Shutdown, "the library was shut down")
}
