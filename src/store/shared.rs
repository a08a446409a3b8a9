//! Stores that others change too: on a cluster, say. They are implemented above, at the boundary.
//!
//! # The argument
//!
//! A shared store is called by any thread, many at once, and by none that has the right to write: so
//! nobody waits for it but those who asked it. It keeps the order of its changes itself, and gives
//! them their revisions. What it tells (`Hears`) comes from a thread of its own, which waits there for
//! the right to write of one bucket and for no store.

use super::backed::Loaded;
use crate::error::Error;
use crate::sync::Arc;
use crate::time::Deadline;
use crate::value::ValueRef;

/// What a store was asked for and has found: what is refused ends it.
pub(crate) type Found<'f> = &'f mut (dyn FnMut(Loaded<'_>) -> Result<(), Error> + 'f);

/// The contents of one bucket, which others change too. To drop it is to close it, when nobody is in
/// a function of it any more; what it tells has ended then.
pub(crate) trait SharedStore: Send + Sync {
    /// The entry of a key: `Error::NotFound` if it is absent.
    fn get(&self, key: &[u8], deadline: &Deadline, found: Found<'_>) -> Result<(), Error>;

    /// Makes all changes or none; answers the revision of the first, and the others follow it.
    /// `Error::OutcomeUnknown`: nobody knows which; after any other error none.
    fn write(&self, changes: &[SharedChange<'_>], deadline: &Deadline) -> Result<u64, Error>;

    /// As `write`, without waiting: `then` is told how it ended, unless this refuses it.
    fn send(
        &self,
        change: &SharedChange<'_>,
        deadline: &Deadline,
        then: Arc<dyn Sent>,
    ) -> Result<(), Error>;

    /// Entries whose keys begin so and lie above another one, at least; of no one instant.
    fn scan(&self, which: &Which<'_>, deadline: &Deadline, found: Found<'_>) -> Result<(), Error>;

    /// How many keys there are, and the revision of the last change.
    fn count(&self, deadline: &Deadline) -> Result<(u64, u64), Error>;

    /// Has what is there and what changes told, until the answer is dropped.
    fn watch(self: Arc<Self>, hears: Arc<dyn Hears>) -> Result<Box<dyn Send + Sync>, Error>;

    /// The bucket has ended: lets those go who wait.
    fn interrupt(&self);

    fn can(&self) -> Abilities;
}

/// What not every shared store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// More than one change at once.
    pub(crate) batches: bool,
    /// Keys with a time to live.
    pub(crate) ttl: bool,
}

/// One change, as it is asked for.
#[derive(Clone, Copy)]
pub(crate) struct SharedChange<'a> {
    pub(crate) key: &'a [u8],
    /// `None`: the key goes. It need not be there.
    pub(crate) value: Option<ValueRef<'a>>,
    /// The revision that the key must have, 0 if it must be absent; `None`: whatever it has.
    pub(crate) expected: Option<u64>,
    /// When the key goes, in milliseconds since 1970.
    pub(crate) expires: Option<i64>,
}

/// Which keys a scan is about.
#[derive(Clone, Copy)]
pub(crate) struct Which<'a> {
    pub(crate) prefix: &'a [u8],
    pub(crate) after: Option<&'a [u8]>,
    pub(crate) keys_only: bool,
}

/// Is told what became of a change that nobody waits for. Must not wait.
pub(crate) trait Sent: Send + Sync {
    fn ended(&self, outcome: Result<u64, Error>);
}

/// What a store tells by itself.
pub(crate) enum News<'a> {
    Put(Loaded<'a>),
    Gone {
        key: &'a [u8],
        revision: u64,
        /// Its time to live was over.
        is_expired: bool,
    },
    /// What was told before is void: what is there is told anew.
    Reset,
    /// All that is there was told, as of this revision.
    Current(u64),
    /// It is in reach again, or no longer.
    Reach {
        is_away: bool,
    },
    /// Others erased it.
    Deleted,
    /// What is no news.
    Unreadable,
}

/// Hears what a store tells, one after the other.
pub(crate) trait Hears: Send + Sync {
    fn hear(&self, news: News<'_>);
}
