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

mod children;
mod ends;
mod lookup;
mod names;
mod options;
mod registered;
mod supervisor;
mod watches;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::bucket::{BucketSpec, Surroundings};
use crate::error::Error;
use crate::log::{Level, Logs};
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::server::{AnyServer, Budget, Reservation, Server, State, System, Turn, Writing};
use crate::sync::lock;

use children::Begins;
pub(crate) use children::Sort;
pub use lookup::RegistryInfo;
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

    /// An info: a message that nobody expects. Logged at debug and dropped.
    pub(crate) fn send(self: &Arc<Self>, message: &[u8]) -> Result<(), Error> {
        if message.len() > MESSAGE_LIMIT {
            return Err(Error::InvalidArgument("a message has at most 65536 bytes"));
        }
        let message = memory::bytes(message).ok_or(Error::NoMemory)?;
        self.cast(Message::Info(message))
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
