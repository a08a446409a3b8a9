//! Servers of whatever kind: what links, monitors and names hold.
//!
//! # The argument
//!
//! A [`NamedServer`] has the type of its server's state beside it, as it was when it was made of
//! an `Arc` of that server. So where the types are equal, the pointer is that `Arc`'s.

use std::any::{Any, TypeId};

use super::deadlock::Waitable;
use super::end::{Linked, Monitor, Ties};
use super::{Place, Server, State};
use crate::reason::Exit;
use crate::sync::raw_arc::Lent;
use crate::sync::Arc;
use crate::time::Deadline;

/// A server of whatever kind.
pub(crate) trait AnyServer: Waitable {
    fn name(&self) -> Option<&str>;

    /// Where it stands, if a parent started it.
    fn place(&self) -> Option<&Place>;

    /// Keys, and bytes of keys and values, of what it holds.
    fn size(&self) -> (usize, usize);

    /// Adds a monitor; `false` if the server has ended.
    fn monitor(&self, reference: u64, monitor: Arc<dyn Monitor>) -> bool;

    /// Takes a monitor away, if it is still there.
    fn demonitor(&self, reference: u64);

    /// Ends it at once, with those linked to it; see [`Server::end`].
    fn end_at_once(self: Arc<Self>, exit: Exit);

    /// Ends this server, and tells which others are to be ended for that.
    fn end_alone(self: Arc<Self>, exit: Arc<Exit>, linked: &mut Linked);

    /// Returns when nothing is left to do of an end that another thread may still be at; see
    /// [`Server::finish_end`].
    fn await_end(self: Arc<Self>);

    /// Gives up what the state holds: of a server that nobody ever got to know.
    fn discard(&self);

    /// Shows `look` who is concerned by its end, under its lock; `None` if it has ended.
    fn with_ties(&self, look: &mut dyn FnMut(Option<&mut Ties>));

    /// Whether the calling thread would wait for itself by waiting for this server.
    fn would_wait_for_caller(&self) -> bool;

    /// Its name stands: it was started again in the place of another.
    fn started_again(self: Arc<Self>);

    /// Whether it wants to be told before it ends.
    fn wants_end(&self) -> bool;

    /// Has it told that it is to end in good order; `false` if it does not want to know.
    fn begin_end(self: Arc<Self>, exit: &Exit) -> bool;

    /// Waits for an end that `begin_end` began, for so long at most; then kills it.
    fn finish_begun_end(self: Arc<Self>, deadline: &Deadline);
}

/// A server of whatever kind, which can be asked for its own kind.
#[derive(Clone)]
pub(crate) struct NamedServer {
    kind: TypeId,
    server: Arc<dyn AnyServer>,
}

impl NamedServer {
    pub(crate) fn new<S: State>(server: Arc<Server<S>>) -> NamedServer {
        NamedServer {
            kind: TypeId::of::<S>(),
            server,
        }
    }

    pub(crate) fn any(&self) -> &Arc<dyn AnyServer> {
        &self.server
    }

    /// Whether it is of this kind.
    pub(crate) fn is_kind<S: State>(&self) -> bool {
        self.kind == TypeId::of::<S>()
    }

    /// The server, if it is of this kind.
    #[inline(always)]
    pub(crate) fn as_kind<S: State>(&self) -> Option<Lent<'_, Server<S>>> {
        (self.kind == TypeId::of::<S>()).then(|| {
            // SAFETY: made of such an `Arc`, by `new`, whose count this one has.
            unsafe { Lent::new(Arc::from_raw(Arc::as_ptr(&self.server).cast())) }
        })
    }
}

/// What the boundary has for a server: told when nobody is inside it any more, nor will be.
pub(crate) trait Front: Send + Sync {
    fn vacated(&self);
    fn as_any(&self) -> &(dyn Any + Send + Sync);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}
