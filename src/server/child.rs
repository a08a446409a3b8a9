//! Children: servers that a parent started under a name, and starts again as it was told.
//!
//! A restart is made by the thread that ends the server, before anybody can learn of the end:
//! the new one takes the old one's place in one step, so that whoever is told finds it there.
//! Only that place is shared. The new server is another process: its specification is the old
//! one's, and nothing else of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::{AnyServer, NamedServer};
use crate::reason::Reason;
use crate::sync::{lock, Arc, AtomicBool, Mutex, Ordering, Weak};

/// When a server that ended is started again, anew, under its name (OTP's `restart`).
///
/// ```
/// use kvreg::{BucketOptions, Reason, Registry, Restart};
///
/// let registry = Registry::start()?;
/// let options = BucketOptions::new().restart(Restart::Transient);
/// registry.create_with("shopping", options)?.exit(Reason::Killed, "")?;
/// assert_eq!(registry.lookup("shopping")?.count()?, 0); // a new one, and empty
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Restart {
    /// Never.
    #[default]
    Temporary = 0,
    /// After an abnormal end: KILLED or CRASHED.
    Transient = 1,
    /// Always, after `stop` too.
    Permanent = 2,
}

impl Restart {
    /// The option of a number of the C interface.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Restart> {
        [Restart::Temporary, Restart::Transient, Restart::Permanent]
            .get(number as usize)
            .copied()
    }

    fn applies_to(self, reason: Reason) -> bool {
        match self {
            Restart::Temporary => false,
            Restart::Transient => matches!(reason, Reason::Killed | Reason::Crashed),
            Restart::Permanent => true,
        }
    }
}

/// What becomes of a child that ended. More restarts than `max_restarts` within the period, and
/// it stays down (OTP's intensity).
#[derive(Clone, Copy)]
pub(crate) struct RestartPolicy {
    pub(crate) restart: Restart,
    pub(crate) max_restarts: u32,
    pub(crate) period: Duration,
}

/// How a child is started, at first and again (OTP's child specification).
pub(crate) trait ChildSpec: Send + Sync {
    fn policy(&self) -> RestartPolicy;

    /// Starts a server for this place, which it keeps.
    fn start(self: Arc<Self>, place: Place) -> NamedServer;
}

/// Who started a child. Told by the thread that ends it.
pub(crate) trait Parent: Send + Sync {
    /// Called first when a child ends, perhaps more than once: takes its name out, or puts a new
    /// child in its place. If the name leads to a newer one already, that one stays.
    fn child_ends(self: Arc<Self>, child: &Arc<dyn AnyServer>, place: &Place, reason: Reason);

    /// Called last when a child ends.
    fn child_ended(&self, child: &Arc<dyn AnyServer>);
}

/// Where a child stands: of its parent, under a name.
pub(crate) struct Place {
    parent: Weak<dyn Parent>,
    name: Box<str>,
    spec: Arc<dyn ChildSpec>,
    /// If it may be restarted.
    history: Option<Arc<History>>,
    /// What the children of this parent share.
    bytes: Option<Arc<Budget>>,
    /// Somebody removed it: it ends for good.
    is_removed: AtomicBool,
    /// Another child had it before.
    is_again: bool,
    /// Nobody waits for the child to begin.
    is_alone: bool,
}

impl Place {
    /// For a new child.
    pub(crate) fn new(
        parent: Weak<dyn Parent>,
        name: &str,
        spec: Arc<dyn ChildSpec>,
        bytes: Option<Arc<Budget>>,
    ) -> Place {
        let is_restarted = spec.policy().restart != Restart::Temporary;
        Place {
            parent,
            name: name.into(),
            spec,
            history: is_restarted.then(|| Arc::new(History::new())),
            bytes,
            is_removed: AtomicBool::new(false),
            is_again: false,
            is_alone: false,
        }
    }

    /// Of a child that nobody waits for.
    pub(crate) fn alone(self) -> Place {
        Place {
            is_alone: true,
            ..self
        }
    }

    /// For who comes in the place of the child that has this one.
    pub(crate) fn again(&self) -> Place {
        Place {
            parent: Weak::clone(&self.parent),
            name: self.name.clone(),
            spec: Arc::clone(&self.spec),
            history: self.history.clone(),
            bytes: self.bytes.clone(),
            is_removed: AtomicBool::new(false),
            is_again: true,
            is_alone: false,
        }
    }

    /// Whether nobody waits for the child to begin, and has its first turn.
    pub(crate) fn begins_by_itself(&self) -> bool {
        self.is_again || self.is_alone
    }

    /// Whether another child had it before.
    pub(crate) fn is_again(&self) -> bool {
        self.is_again
    }

    pub(crate) fn start(self) -> NamedServer {
        Arc::clone(&self.spec).start(self)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn bytes(&self) -> Option<Arc<Budget>> {
        self.bytes.clone()
    }

    /// From here on the child ends for good, whenever it ends. Of several who ask for that,
    /// `true` for the first.
    pub(crate) fn claim_removal(&self) -> bool {
        !self.is_removed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Relaxed)
    }

    /// How often the child of this place was restarted, and why the last one before this ended.
    pub(crate) fn history(&self) -> (u64, Option<Reason>) {
        self.history.as_ref().map_or((0, None), |it| it.told())
    }

    /// Decides about the child, which ends now, and counts its restart.
    pub(crate) fn decide(&self, reason: Reason, now: Instant) -> Decision {
        let history = self.history.as_ref();
        history.map_or(Decision::Leave, |history| {
            history.decide(self.spec.policy(), reason, now)
        })
    }

    pub(super) fn ends(&self, child: &Arc<dyn AnyServer>, reason: Reason) {
        if let Some(parent) = self.parent.upgrade() {
            parent.child_ends(child, self, reason);
        }
    }

    pub(super) fn ended(&self, child: &Arc<dyn AnyServer>) {
        if let Some(parent) = self.parent.upgrade() {
            parent.child_ended(child);
        }
    }
}

/// What a parent decides.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Restart,
    /// As its policy says.
    Leave,
    /// It was restarted too often.
    GiveUp,
}

/// What is known of a child across its restarts.
struct History(Mutex<Restarts>);

#[derive(Default)]
struct Restarts {
    /// When it was restarted, within the last period.
    recent: VecDeque<Instant>,
    count: u64,
    last: Option<Reason>,
}

impl History {
    fn new() -> History {
        History(Mutex::new(Restarts::default()))
    }

    fn decide(&self, policy: RestartPolicy, reason: Reason, now: Instant) -> Decision {
        if !policy.restart.applies_to(reason) {
            return Decision::Leave;
        }
        let mut restarts = lock(&self.0);
        restarts.last = Some(reason);
        let is_over = |at: &Instant| now.duration_since(*at) > policy.period;
        while restarts.recent.front().is_some_and(is_over) {
            restarts.recent.pop_front();
        }
        if restarts.recent.len() >= policy.max_restarts as usize {
            return Decision::GiveUp;
        }
        restarts.recent.push_back(now);
        restarts.count += 1;
        Decision::Restart
    }

    fn told(&self) -> (u64, Option<Reason>) {
        let restarts = lock(&self.0);
        (restarts.count, restarts.last)
    }
}
