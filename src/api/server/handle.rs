//! Handles of servers that programs write, and how these start.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::messages::{Handles, Message};
use super::unanswered::{NotAnswered, Unanswered};
use super::{behaviour, Actor, Context, Made, ServerOptions};
use crate::api::{check_inherited, told, Bucket, Inbox, Registry};
use crate::error::Error;
use crate::process::{Ended, Process};
use crate::reason::Reason;
use crate::reclaim;
use crate::registry::{check_name, Sort};
use crate::server::{AnyServer, Caller, Lasts, Restart, State, Thread};
use crate::time::Timeout;
use crate::user_server::{Answer, Content, UserServer, UserServerSpec, TAG_LIMIT, VALUES_LIMIT};
use crate::value::{AsValue, FromValue, Value, ValueRef};

/// Who wrote the server is not known: it is asked whatever one likes, and may not know it.
#[derive(Clone, Copy, Debug)]
pub enum Foreign {}

impl<M: Message> Handles<M> for Foreign {
    fn handle(&mut self, _: M, _: &Context<'_>) -> Result<M::Answer, Unanswered> {
        match *self {}
    }
}

/// A handle to a server that a program wrote: an [`Actor`], or one of another language.
///
/// Clones lead to the same process, each with a timeout of its own; after a restart another is
/// found by the name. One that no registry knows stops when its last handle is dropped.
pub struct Server<A = Foreign> {
    server: Arc<UserServer>,
    timeout: Timeout,
    of: PhantomData<fn(A)>,
}

/// What there is to know about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Messages that wait.
    pub mailbox: usize,
    /// Bytes of tags and values that wait.
    pub bytes: usize,
    /// Messages handled.
    pub handled: u64,
    /// How often the server of this name was started again.
    pub restarts: u64,
    /// How the last server of this name ended.
    pub last_exit: Option<Reason>,
    /// How long its turn has been held.
    pub turn: Duration,
}

/// The message, as it is sent.
pub(in crate::api) fn content_of(
    tag: &str,
    values: Vec<ValueRef<'_>>,
) -> Result<Arc<Content>, Error> {
    if tag.is_empty() || tag.len() > TAG_LIMIT || tag.contains('\0') {
        return Err(Error::InvalidArgument("a tag has 1 to 255 bytes, no NUL"));
    }
    if values.len() > VALUES_LIMIT {
        return Err(Error::InvalidArgument("a message has at most 255 values"));
    }
    Content::new(tag, values.into_iter())
}

pub(super) fn send_after<M: Message>(
    server: &Arc<UserServer>,
    delay: Duration,
    message: &M,
) -> Result<u64, Error> {
    let delay = delay.as_nanos().div_ceil(1_000_000);
    let delay = u64::try_from(delay).unwrap_or(u64::MAX);
    server.send_after(delay, &content_of(M::TAG, message.values())?)
}

/// Starts a server, or gives the one that has its name, once it has begun.
fn start<A, T, F>(
    registry: Option<(&Registry, &str)>,
    options: ServerOptions,
    make: F,
) -> Result<Server<A>, NotAnswered>
where
    A: Actor,
    T: Made<A> + 'static,
    F: Fn() -> T + Send + Sync + 'static,
{
    options.check()?;
    let process = Process::starting()?;
    let spec = UserServerSpec::new(
        options.0,
        process.around_user_servers(),
        behaviour(make),
        None,
    )?;
    Thread::may_hold_another(Lasts::Call)?;
    let Some((registry, name)) = registry else {
        let server = Server::of(UserServer::start_alone(spec));
        process.note_started(Ended::First, &server.server)?;
        server.server.init(server.server.first_turn())?;
        return Ok(server);
    };
    let name = check_name(name)?;
    let (server, is_new) = registry.call(|registry, caller| {
        caller.unpin(); // user code runs
        let (server, is_new) = registry.start_server(caller, name, spec)?;
        if !is_new {
            server.await_begun(caller)?;
        }
        Ok((server, is_new))
    })?;
    if is_new {
        server.init(server.first_turn())?;
    }
    Ok(Server::of(server))
}

impl Registry {
    /// The server of that name, started if there is none: `make` makes its [`Actor`], on this
    /// thread, and again at each restart. What it refuses, or a panic, is why there is none; then
    /// the name is free again.
    pub fn start_server<A, T, F>(&self, name: &str, make: F) -> Result<Server<A>, NotAnswered>
    where
        A: Actor,
        T: Made<A> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        start(Some((self, name)), ServerOptions::new(), make)
    }

    /// The same; one that is started now has these options.
    pub fn start_server_with<A, T, F>(
        &self,
        name: &str,
        options: ServerOptions,
        make: F,
    ) -> Result<Server<A>, NotAnswered>
    where
        A: Actor,
        T: Made<A> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        start(Some((self, name)), options, make)
    }

    /// The server of that name, or [`Error::NotFound`]; [`Error::WrongKind`] if it is a bucket's.
    pub fn lookup_server(&self, name: &str) -> Result<Server, Error> {
        self.call(|server, caller| {
            let found = server.lookup_server(caller, check_name(name)?)?;
            Ok(Server::of(found))
        })
    }

    /// The names of all servers that programs wrote, as they are at one instant.
    pub fn servers(&self) -> Result<Vec<String>, Error> {
        self.call(|server, caller| server.names(caller, Sort::Server))
    }
}

impl<A: Actor> Server<A> {
    /// Starts one that no registry knows. `make` makes its [`Actor`], on this thread.
    pub fn start<T, F>(make: F) -> Result<Server<A>, NotAnswered>
    where
        T: Made<A> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        Server::start_with(ServerOptions::new(), make)
    }

    /// The same, with options. Its `restart` is [`Temporary`](Restart::Temporary): nobody would
    /// start it again.
    pub fn start_with<T, F>(options: ServerOptions, make: F) -> Result<Server<A>, NotAnswered>
    where
        T: Made<A> + 'static,
        F: Fn() -> T + Send + Sync + 'static,
    {
        if options.0.restart != Restart::Temporary {
            let text = "a server without a registry is not restarted: nobody holds its place";
            return Err(Error::InvalidArgument(text).into());
        }
        start(None, options, make)
    }
}

impl<A> Server<A> {
    pub(super) fn of(server: Arc<UserServer>) -> Server<A> {
        server.add_handle();
        Server {
            server,
            timeout: Process::default_timeout(),
            of: PhantomData,
        }
    }

    #[cfg(feature = "aio")]
    pub(in crate::api) fn server(&self) -> &Arc<UserServer> {
        &self.server
    }

    fn checked(&self) -> Result<&Arc<UserServer>, Error> {
        check_inherited(self.server.system())?;
        reclaim::tidy(); // of what earlier calls left
        Ok(&self.server)
    }

    fn told<R>(&self, answer: Result<R, Error>) -> Result<R, Error> {
        told(self.server.system(), answer)
    }

    /// What a call of the message `M` is told.
    pub(in crate::api) fn answered<M: Message>(
        &self,
        answer: Answer,
    ) -> Result<M::Answer, NotAnswered> {
        Ok(M::Answer::from_value(self.value_of(answer)?)?)
    }

    fn value_of(&self, answer: Answer) -> Result<Value, NotAnswered> {
        answer.map_err(|refusal| {
            let NotAnswered { error, text } = refusal.into();
            let error = self.told::<()>(Err(error.clone())).err().unwrap_or(error);
            NotAnswered { error, text }
        })
    }

    /// Sends the message, and waits for its answer. The handler of an [`Actor`] runs on this
    /// thread, after what was queued before.
    pub fn call<M: Message>(&self, message: M) -> Result<M::Answer, NotAnswered>
    where
        A: Handles<M>,
    {
        self.answered::<M>(self.ask_for(M::TAG, message.values())?)
    }

    /// The same without types: a tag, and values.
    ///
    /// ```no_run
    /// # let registry = kvreg::Registry::start()?;
    /// let hits = registry.lookup_server("hits")?;
    /// let sum = hits.ask("add", &[5])?;
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn ask<V: AsValue>(&self, tag: &str, values: &[V]) -> Result<Value, NotAnswered> {
        let values = values.iter().map(AsValue::as_value).collect();
        self.value_of(self.ask_for(tag, values)?)
    }

    fn ask_for(&self, tag: &str, values: Vec<ValueRef<'_>>) -> Result<Answer, Error> {
        let server = self.checked()?;
        let content = content_of(tag, values)?;
        let mut caller = Caller::new(self.timeout);
        let answer = match server.state().runs_here() {
            true => server.call_here(&mut caller, content),
            false => server.call_by_message(&mut caller, content),
        };
        Ok(answer)
    }

    /// Sends the message without waiting. A later call of this thread comes after it.
    pub fn cast<M: Message>(&self, message: M) -> Result<(), Error>
    where
        A: Handles<M>,
    {
        let content = content_of(M::TAG, message.values())?;
        self.told(self.checked()?.cast_content(&content))
    }

    /// Sends the message as an info: any other message.
    pub fn send<M: Message>(&self, message: M) -> Result<(), Error>
    where
        A: Handles<M>,
    {
        let content = content_of(M::TAG, message.values())?;
        self.told(self.checked()?.send_content(&content, false))
    }

    /// Sends the message as an info after a time; the answer is its reference.
    pub fn send_after<M: Message>(&self, delay: Duration, message: M) -> Result<u64, Error>
    where
        A: Handles<M>,
    {
        self.told(send_after(self.checked()?, delay, &message))
    }

    /// Takes a timer back: what was left of its time. [`Error::NotFound`]: it has come already.
    pub fn cancel(&self, reference: u64) -> Result<Duration, Error> {
        self.told(self.checked()?.cancel_timer(reference))
            .map(Duration::from_millis)
    }

    /// Stops it, reason NORMAL, after what is queued; returns when it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        let mut caller = Caller::new(self.timeout);
        let stopped = self.checked()?.stop_user_server(&mut caller);
        reclaim::tidy();
        self.told(stopped)
    }

    /// Ends it at once, whatever is queued.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        self.told(self.checked()?.exit(reason, detail))
    }

    /// Links it to a server of any kind: when one ends abnormally, so does the other.
    pub fn link(&self, other: &impl ServerLike) -> Result<(), Error> {
        let other = other.any()?;
        self.told(self.checked()?.link(&other.0))
    }

    /// Takes a link away, if there is one.
    pub fn unlink(&self, other: &impl ServerLike) {
        if let (Ok(server), Ok(other)) = (self.checked(), other.any()) {
            server.unlink(&other.0);
        }
    }

    /// What there is to know about it.
    pub fn info(&self) -> Result<ServerInfo, Error> {
        let info = self.checked()?.user_server_info();
        Ok(ServerInfo {
            mailbox: info.mailbox,
            bytes: info.bytes,
            handled: info.handled,
            restarts: info.restarts,
            last_exit: info.last_exit,
            turn: Duration::from_millis(info.turn_ms),
        })
    }

    /// The name it is registered under, after its end too.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.server.state().name()
    }

    /// How long the calls of this handle may wait; 5 seconds unless it is told otherwise.
    pub fn set_timeout(&mut self, timeout: impl Into<Timeout>) {
        self.timeout = timeout.into();
    }

    /// The handle, with another timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Server<A> {
        self.set_timeout(timeout);
        self
    }

    /// The timeout of this handle's calls.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// Whether both are handles to the same process.
    #[must_use]
    pub fn is<B>(&self, other: &Server<B>) -> bool {
        Arc::ptr_eq(&self.server, &other.server)
    }
}

impl<A> Clone for Server<A> {
    fn clone(&self) -> Server<A> {
        self.server.add_handle();
        Server {
            server: Arc::clone(&self.server),
            timeout: self.timeout,
            of: PhantomData,
        }
    }
}

impl<A> fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl<A> Drop for Server<A> {
    fn drop(&mut self) {
        if self.server.system().is_current() {
            self.server.drop_handle();
        }
    }
}

use sealed::Whole;

mod sealed {
    use super::{AnyServer, Arc, Error};

    /// A server, of whatever kind.
    pub struct Whole(pub(in crate::api) Arc<dyn AnyServer>);

    pub trait Any {
        fn any(&self) -> Result<Whole, Error>;
    }
}

/// A server of any kind, which is monitored and linked: a bucket, a registry, or one that a
/// program wrote.
pub trait ServerLike: sealed::Any {}

impl<A> sealed::Any for Server<A> {
    fn any(&self) -> Result<Whole, Error> {
        Ok(Whole(self.checked()?.as_any()))
    }
}

impl sealed::Any for Bucket {
    fn any(&self) -> Result<Whole, Error> {
        check_inherited(self.server().system())?;
        Ok(Whole(self.server().as_any()))
    }
}

impl sealed::Any for Registry {
    fn any(&self) -> Result<Whole, Error> {
        Ok(Whole(self.server()?.as_any()))
    }
}

impl<A> ServerLike for Server<A> {}
impl ServerLike for Bucket {}
impl ServerLike for Registry {}

impl Inbox {
    /// As [`monitor`](Inbox::monitor), of a server of any kind.
    pub fn monitor_server(&self, server: &impl ServerLike) -> Result<u64, Error> {
        self.core()?.monitor(&server.any()?.0)
    }

    /// Calls a server without waiting: the answer comes here, as an
    /// [`Event::Reply`](crate::Event::Reply) with this reference; past the timeout of the
    /// server's handle that is [`Error::Timeout`], or [`Error::OutcomeUnknown`] if it had begun.
    pub fn request<A: Handles<M>, M: Message>(
        &self,
        server: &Server<A>,
        message: M,
    ) -> Result<u64, Error> {
        let content = content_of(M::TAG, message.values())?;
        let core = self.core()?;
        let sent = server.checked()?.request(&content, core, server.timeout);
        server.told(sent)
    }

    /// Withdraws a request: nothing of it comes any more. [`Error::OutcomeUnknown`]: it had begun;
    /// [`Error::NotFound`]: it was answered.
    pub fn abandon(&self, reference: u64) -> Result<(), Error> {
        self.core()?.abandon(reference)
    }
}
