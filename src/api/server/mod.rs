//! Servers that Rust programs write.
//!
//! # The argument
//!
//! The state of a process is a boxed `A`, which `init` makes and `drop_state` frees, once. Between
//! these two only the handlers have it, and these are called by who has the turn, one at a time
//! (see `crate::user_server`): so each has it alone, and `&mut A` is right. It moves between threads, and
//! so an [`Actor`] is `Send`. Handlers run inside `catch_unwind`: a panic is the crash of its
//! server, whose state nobody looks at any more, but for its drop.

mod context;
mod handle;
mod messages;
mod options;
mod unanswered;

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use crate::reason::Reason;
use crate::runtime;
use crate::sync::lock;
use crate::user_server::{Behaviour, Said, UserServer, What};
use crate::value::{Text, Value};

pub use context::{Context, Reply};
#[cfg(feature = "aio")]
pub(super) use handle::content_of;
pub use handle::{Foreign, Server, ServerInfo, ServerLike};
pub use messages::{Arguments, Handles, Message, Messages};
pub use options::ServerOptions;
pub use unanswered::{NotAnswered, Unanswered};

/// A server that a program writes (OTP's GenServer): its state, and what it handles.
///
/// ```
/// use kvreg::{Actor, Context, Handles, Registry, Unanswered};
///
/// kvreg::messages! {
///     pub Add(by: i64) -> i64 = "add";
///     pub Reset() = "reset";
/// }
///
/// struct Counter {
///     sum: i64,
/// }
///
/// impl Actor for Counter {
///     type Messages = (Add, Reset);
/// }
///
/// impl Handles<Add> for Counter {
///     fn handle(&mut self, Add(by): Add, _: &Context<'_>) -> Result<i64, Unanswered> {
///         if by < 0 {
///             return Err(Unanswered::refused("it only grows"));
///         }
///         self.sum += by;
///         Ok(self.sum)
///     }
/// }
///
/// impl Handles<Reset> for Counter {
///     fn handle(&mut self, _: Reset, _: &Context<'_>) -> Result<(), Unanswered> {
///         self.sum = 0;
///         Ok(())
///     }
/// }
///
/// let registry = Registry::start()?;
/// let hits = registry.start_server("hits", || Counter { sum: 10 })?;
/// assert_eq!(hits.call(Add(5))?, 15); // on this thread
/// hits.cast(Reset())?;
/// assert_eq!(hits.call(Add(1))?, 1);
/// assert_eq!(hits.call(Add(-1)).unwrap_err().text, "it only grows");
///
/// let found = registry.lookup_server("hits")?; // whoever wrote it, in whatever language
/// assert_eq!(found.call(Add(1))?, 2);
/// # Ok::<(), kvreg::Error>(())
/// ```
pub trait Actor: Sized + Send + 'static {
    /// The messages that it [handles](Handles): a tuple of their types.
    type Messages: Messages<Self>;

    /// It has been made, and begins; at a restart too. An error is as of a failed start.
    fn started(&mut self, context: &Context<'_>) -> Result<(), Unanswered> {
        let _ = context;
        Ok(())
    }

    /// A server that it monitors has ended.
    fn down(&mut self, down: &Down<'_>, context: &Context<'_>) -> Result<(), Unanswered> {
        let _ = (down, context);
        Err(Unanswered::Unknown)
    }

    /// It is about to end, and its options say that it wants to know.
    fn terminate(&mut self, reason: Reason, context: &Context<'_>) {
        let _ = (reason, context);
    }

    /// A message that is none of [`Messages`](Actor::Messages).
    fn other(
        &mut self,
        tag: &str,
        values: &[Value],
        context: &Context<'_>,
    ) -> Result<Value, Unanswered> {
        let _ = (tag, values, context);
        Err(Unanswered::Unknown)
    }
}

/// The end of a server that was monitored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Down<'a> {
    /// What `monitor` answered.
    pub reference: u64,
    /// The name that it had, if it had one.
    pub name: Option<&'a str>,
    /// Why it ended.
    pub reason: Reason,
    /// What was said about its end.
    pub detail: &'a str,
}

/// What makes an actor, each time that its server starts: it, or why there is none.
pub trait Made<A> {
    /// The actor.
    fn made(self) -> Result<A, Unanswered>;
}

impl<A: Actor> Made<A> for A {
    fn made(self) -> Result<A, Unanswered> {
        Ok(self)
    }
}

impl<A: Actor> Made<A> for Result<A, Unanswered> {
    fn made(self) -> Result<A, Unanswered> {
        self
    }
}

/// See the module.
struct Written<A, F> {
    make: Mutex<Option<Arc<F>>>,
    lineage: usize,
    of: PhantomData<fn() -> A>,
}

fn behaviour<A, T, F>(make: F) -> Arc<dyn Behaviour>
where
    A: Actor,
    T: Made<A> + 'static,
    F: Fn() -> T + Send + Sync + 'static,
{
    Arc::new(Written {
        make: Mutex::new(Some(Arc::new(move || make().made()))),
        lineage: runtime::lineage(),
        of: PhantomData,
    })
}

/// What a panic says, as the detail of an end.
fn said_of(panic: &(dyn Any + Send)) -> Option<Text> {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    unanswered::text(said.unwrap_or("a panic"))
}

fn caught<R>(run: impl FnOnce() -> R) -> Result<R, Said> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let said = Said::Crash(said_of(&*panic));
        // What it carries may panic in its own drop.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(panic)));
        said
    })
}

impl<A: Actor, F: Fn() -> Result<A, Unanswered> + Send + Sync> Behaviour for Written<A, F> {
    fn init(&self, server: &Arc<UserServer>) -> Result<*mut (), Said> {
        let make = lock(&self.make).clone();
        let Some(make) = make else {
            return Err(Said::Bad("no state is made any more"));
        };
        let made = caught(|| {
            let mut actor = make()?;
            actor.started(&Context::new(server, None))?;
            Ok(actor)
        })?;
        match made {
            Ok(actor) => Ok(Box::into_raw(Box::new(actor)).cast()),
            Err(unanswered) => Err(match Unanswered::said(unanswered) {
                said @ (Said::Abort(_) | Said::Crash(_)) => said,
                _ => Said::Bad("a start that says what it may not"),
            }),
        }
    }

    fn handle(&self, state: *mut (), server: &Arc<UserServer>, what: &What) -> Said {
        // SAFETY: `init` made it, of this type, and whoever calls this has the turn: see the
        // module.
        let actor = unsafe { &mut *state.cast::<A>() };
        let context = Context::new(server, Some(what));
        let said = match caught(|| told(actor, what, &context)) {
            Ok(Ok(value)) if context.stops.get() => Said::Stop(Ok(value)),
            Ok(Ok(value)) => Said::Keep(Ok(value)),
            Ok(Err(unanswered)) => unanswered.said(),
            Err(crash) => crash,
        };
        let is_deferred = context.is_deferred.get();
        match (said, what) {
            (Said::Later, What::Call(..)) if is_deferred => Said::Later,
            (Said::Later, _) => Said::Bad("a later answer of what was not deferred"),
            (said, _) => said,
        }
    }

    fn drop_state(&self, state: *mut ()) {
        // SAFETY: `init` made it, of this type, and nobody has it any more: see the module.
        let actor = unsafe { Box::from_raw(state.cast::<A>()) };
        let _ = catch_unwind(AssertUnwindSafe(move || drop(actor)));
    }

    fn destroy(&self) {
        let make = lock(&self.make).take();
        match self.lineage == runtime::lineage() {
            true => drop(catch_unwind(AssertUnwindSafe(move || drop(make)))),
            false => std::mem::forget(make), // the parent's
        }
    }
}

impl<A, F> Drop for Written<A, F> {
    fn drop(&mut self) {
        if self.lineage != runtime::lineage() {
            std::mem::forget(lock(&self.make).take()); // the parent's
        }
    }
}

/// What the actor says of a message.
fn told<A: Actor>(actor: &mut A, what: &What, context: &Context<'_>) -> Result<Value, Unanswered> {
    match what {
        What::Call(content, _) | What::Cast(content) | What::Info(content, _) => {
            let tag = content.tag_with_nul();
            let tag = std::str::from_utf8(tag.strip_suffix(b"\0").unwrap_or(tag));
            let (tag, values) = (tag.unwrap_or_default(), content.values());
            A::Messages::dispatch(actor, tag, values, context)
                .unwrap_or_else(|| actor.other(tag, values, context))
        }
        What::Down(reference, ended) => {
            let down = Down {
                reference: *reference,
                name: ended.name.as_deref(),
                reason: ended.exit.reason,
                detail: &ended.exit.detail,
            };
            actor.down(&down, context).map(|()| Value::Nil)
        }
        What::Terminate(exit) => {
            actor.terminate(exit.reason, context);
            Ok(Value::Nil)
        }
        What::Init | What::Stop(_) => Err(Unanswered::Unknown), // never told
    }
}
