//! A cluster that stores of this process use: it has a session, and another one when that is over.
//!
//! # The argument
//!
//! One task, the keeper, connects, tells the session to all, waits for its end, and begins again.
//! It has what it tells in common with the cluster, and not the cluster itself: so the last store
//! that gives the cluster up ends the keeper, in whatever it is, and the session with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::failure::Failure;
use crate::location::Servers;
use crate::session::{Refusal, Session};
use crate::world::Running;

/// Between attempts at all servers.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(1);
/// How often it looks whether an end of a session was missed.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) enum Link {
    Down {
        /// Of the last attempt.
        why: Option<Refusal>,
    },
    Up(Arc<Session>),
}

impl Link {
    /// One that is not over.
    fn session(&self) -> Option<Arc<Session>> {
        match self {
            Link::Up(session) if !session.is_over() => Some(Arc::clone(session)),
            _ => None,
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) servers: Servers,
    link: Arc<watch::Sender<Link>>,
    keeper: Mutex<Option<AbortHandle>>,
    /// It ends after the tasks that use it.
    running: Arc<Running>,
}

impl Cluster {
    pub(crate) fn new(servers: Servers, running: Arc<Running>) -> Cluster {
        let link = Arc::new(watch::Sender::new(Link::Down { why: None }));
        let kept = keep(servers.clone(), Arc::clone(&link));
        let keeper = running.handle().spawn(kept).abort_handle();
        Cluster {
            servers,
            link,
            keeper: Mutex::new(Some(keeper)),
            running,
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.running.handle()
    }

    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// The session that there is now.
    pub(crate) fn current(&self) -> Option<Arc<Session>> {
        self.link.borrow().session()
    }

    /// The session, as soon as there is one.
    pub(crate) async fn session(&self) -> Arc<Session> {
        loop {
            if let Some(session) = self.current() {
                return session;
            }
            let mut link = self.link();
            link.borrow_and_update();
            if let Some(session) = self.current() {
                return session;
            }
            // The end of a session may be known before it is told here.
            let _ = tokio::time::timeout(LOOK, link.changed()).await;
        }
    }

    /// The same, or that the servers do not know this user.
    pub(crate) async fn session_or_refusal(&self) -> Result<Arc<Session>, Failure> {
        let mut link = self.link();
        let is_settled = |link: &Link| match link {
            Link::Down { why } => why.as_ref().is_some_and(|it| it.is_login),
            Link::Up(session) => !session.is_over(),
        };
        let settled = link.wait_for(is_settled).await;
        match settled.as_deref() {
            Ok(Link::Up(session)) => Ok(Arc::clone(session)),
            Ok(Link::Down { why: Some(why) }) => Err(Failure::io(why.text.clone())),
            _ => Err(Failure::internal()),
        }
    }

    /// Why there is none, for people.
    pub(crate) fn why_down(&self) -> String {
        match &*self.link.borrow() {
            Link::Down { why: Some(why) } => format!("no server is in reach; {}", why.text),
            Link::Down { why: None } => format!("{}: no answer", self.servers.describe()),
            Link::Up(_) => format!("{}: JetStream did not answer", self.servers.describe()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let keeper = self
            .keeper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper.take() {
            keeper.abort();
        }
    }
}

async fn keep(servers: Servers, link: Arc<watch::Sender<Link>>) {
    let mut hosts = servers.hosts.clone();
    loop {
        let session = Arc::new(connect(&servers, &mut hosts, &link).await);
        for host in &session.others {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        link.send_replace(Link::Up(Arc::clone(&session)));
        while !session.is_over() {
            let _ = tokio::time::timeout(LOOK, session.ended()).await;
        }
        session.end();
        link.send_replace(Link::Down { why: None });
    }
}

/// Tries one server after the other. Who answered last is the first to be asked again.
async fn connect(servers: &Servers, hosts: &mut [String], link: &watch::Sender<Link>) -> Session {
    let mut pause = LEAST_PAUSE;
    loop {
        for at in 0..hosts.len() {
            match Session::connect(servers, &hosts[at]).await {
                Ok(session) => {
                    hosts[..=at].rotate_right(1);
                    return session;
                }
                Err(refusal) => link.send_replace(Link::Down { why: Some(refusal) }),
            };
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
    }
}
