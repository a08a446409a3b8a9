//! The kinds of handles, and the objects that they lead to.

use std::sync::Arc;

use super::handles::retire;
use super::items::Items;
use super::object::{token, with_needs, with_registry_needs, Needs};
use super::replies::Deferred;
use super::status::Failure;
use crate::bucket::BucketServer;
use crate::error::Error;
use crate::handle_table::Kind;
use crate::inbox::InboxCore;
use crate::listener::ListenerCore;
use crate::process::Process;
use crate::reclaim;
use crate::registry::{RegistryServer, Supervisor};
use crate::server::{AnyServer, Caller, Server, State};
use crate::sync::raw_arc;
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
    /// Its calls may have to wait for a cluster.
    fn waits_long(&self) -> bool {
        false
    }
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
    fn waits_long(&self) -> bool {
        S::waits_long(self)
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
    let timeout_ms = process.options().timeout_ms(false);
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
