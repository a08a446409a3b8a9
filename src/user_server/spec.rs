//! How a user's server is started, at first and again, and what its handlers are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Mail, UserServer, UserServerState, What};
use crate::error::Error;
use crate::inbox::{InboxCore, MailPlace};
use crate::server::{ChildSpec, NamedServer, Place, Restart, RestartPolicy};
use crate::sync::lock;
use crate::value::{Text, Value, VALUE_LIMIT};

use super::UserServerSurroundings;

/// What a handler said.
pub(crate) enum Said {
    /// Done; of a call, the answer, or why there is none.
    Keep(Result<Value, Error>),
    /// Refused, and what is said about it.
    Abort(Option<Text>),
    /// It is to end, reason CRASHED.
    Crash(Option<Text>),
    /// As `Keep`; then it is to end, reason NORMAL.
    Stop(Result<Value, Error>),
    /// The answer of a call comes later, and somebody has what sends it.
    Later,
    Unhandled,
    /// What no handler may say.
    Bad(&'static str),
}

impl Said {
    /// The detail of an end for this, which is a crash.
    pub(super) fn crash_detail(&self) -> &str {
        match self {
            Said::Crash(text) => text_of(text.as_ref()),
            Said::Bad(what) => what,
            _ => "a handler said what it may not",
        }
    }
}

pub(super) fn text_of(text: Option<&Text>) -> &str {
    text.and_then(Text::as_str).unwrap_or_default()
}

/// The handlers of a server: the user's. Each is called by who has the turn, and so by one thread
/// at a time for one state.
pub(crate) trait Behaviour: Send + Sync {
    /// What the boundary finds the handler by, without asking what these are; 0 if it has none.
    fn native(&self) -> usize {
        0
    }

    /// Makes a state.
    fn init(&self, server: &Arc<UserServer>) -> Result<*mut (), Said>;

    fn handle(&self, state: *mut (), server: &Arc<UserServer>, what: &What) -> Said;

    /// Nobody handles anything with this state any more. Called once for each that was made.
    fn drop_state(&self, state: *mut ());

    /// No state will be made any more. May be called again.
    fn destroy(&self);
}

/// Options of a user's server.
#[derive(Clone, Debug)]
pub(crate) struct UserServerOptions {
    pub(crate) restart: Restart,
    pub(crate) max_restarts: u32,
    pub(crate) restart_period: Duration,
    /// How long it may take to end in good order.
    pub(crate) shutdown: Duration,
    pub(crate) max_mailbox: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_value: usize,
    /// Who begins a turn runs its handlers; else they are those of its [`Behaviour`].
    pub(crate) is_by_turns: bool,
    pub(crate) wants_terminate: bool,
    pub(crate) hands_over: bool,
    pub(crate) owner: u64,
    pub(crate) key: u64,
}

impl Default for UserServerOptions {
    fn default() -> UserServerOptions {
        UserServerOptions {
            restart: Restart::Temporary,
            max_restarts: 3,
            restart_period: Duration::from_secs(5),
            shutdown: Duration::from_secs(5),
            max_mailbox: 1 << 20,
            max_bytes: usize::MAX,
            max_value: VALUE_LIMIT,
            is_by_turns: false,
            wants_terminate: false,
            hands_over: false,
            owner: 0,
            key: 0,
        }
    }
}

/// See the module.
pub(crate) struct UserServerSpec {
    pub(crate) options: UserServerOptions,
    pub(super) around: UserServerSurroundings,
    pub(super) behaviour: Arc<dyn Behaviour>,
    /// Of the handlers of a server whose calls run on the threads that make them; else 0.
    pub(super) native: usize,
    mail: Mutex<Option<Arc<MailPlace>>>,
    /// Processes that are there, or about to be.
    uses: AtomicUsize,
}

impl UserServerSpec {
    pub(crate) fn new(
        options: UserServerOptions,
        around: UserServerSurroundings,
        behaviour: Arc<dyn Behaviour>,
        inbox: Option<&Arc<InboxCore>>,
    ) -> Result<Arc<UserServerSpec>, Error> {
        let mail = inbox
            .map(|inbox| inbox.keep_mail(options.key))
            .transpose()?;
        let native = match options.is_by_turns || options.hands_over {
            true => 0,
            false => behaviour.native(),
        };
        Ok(Arc::new(UserServerSpec {
            options,
            around,
            native,
            behaviour,
            mail: Mutex::new(mail.map(Arc::new)),
            uses: AtomicUsize::new(0),
        }))
    }

    /// Mail waits.
    pub(super) fn tell_mail(&self) {
        let place = lock(&self.mail).clone();
        if let Some(place) = place {
            place.tell();
        }
    }

    pub(super) fn begins(&self) {
        self.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// A process is gone. One that comes in its place has begun before.
    pub(super) fn leaves(&self) {
        if self.uses.fetch_sub(1, Ordering::AcqRel) == 1 {
            let place = lock(&self.mail).take();
            drop(place); // outside the lock
            self.behaviour.destroy();
        }
    }
}

impl Drop for UserServerSpec {
    fn drop(&mut self) {
        if self.around.system().is_current() {
            self.behaviour.destroy();
        }
    }
}

impl ChildSpec for UserServerSpec {
    fn policy(&self) -> RestartPolicy {
        RestartPolicy {
            restart: self.options.restart,
            max_restarts: self.options.max_restarts,
            period: self.options.restart_period,
        }
    }

    /// At first its turn is the starter's; later its mailbox begins with what makes its state.
    fn start(self: Arc<Self>, place: Place) -> NamedServer {
        let is_again = place.is_again();
        let system = self.around.system();
        let state = UserServerState::new(self, Some(place));
        NamedServer::new(match is_again {
            true => UserServer::start_with_task(system, state, Mail::new(What::Init)),
            false => UserServer::start_taken(system, state),
        })
    }
}
