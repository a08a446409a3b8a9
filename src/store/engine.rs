//! What keeps a bucket's contents beyond its end: stores, and the engines that open them. They are
//! implemented above, at the boundary or by programs in Rust.
//!
//! # The argument
//!
//! A store belongs to one process of a bucket from its opening until it is dropped, and no other one
//! opens what it names meanwhile (`engines.rs`). It is called by who has the bucket's turn, so by one
//! thread at a time, and never with the right to write: what it waits for keeps nobody from reading.
//! A change is stored before it is seen (`backed.rs`): so what was read once is there after a crash.
//! A child of a fork calls no store: it has none of the turns.

use crate::error::Error;
use crate::time::Deadline;
use crate::value::ValueRef;

use super::backed::Loaded;
use super::shared::{Hears, SharedStore};
use crate::sync::Arc;

/// Opens stores, by their URLs.
pub(crate) trait Engine: Send + Sync {
    /// Opens the contents of a bucket: those that are there, or none yet. `Error::Io` if that cannot
    /// be before the deadline. A shared store tells by `hears` what becomes of itself.
    fn open(
        &self,
        location: &Location<'_>,
        deadline: Deadline,
        hears: Arc<dyn Hears>,
    ) -> Result<AnyStore, Error>;

    /// Whether its stores are changed by others too.
    fn is_shared(&self) -> bool;

    /// Erases what is kept of a bucket, of which no store is open: `Error::NotFound` if there is
    /// nothing.
    fn destroy(&self, location: &Location<'_>, deadline: &Deadline) -> Result<(), Error>;
}

/// What a store is to keep, and where.
#[derive(Clone, Copy)]
pub(crate) struct Location<'a> {
    pub(crate) url: &'a str,
    /// The bucket's name.
    pub(crate) bucket: &'a str,
    /// Of all buckets that may share what the URL names, the same number: that of their registry.
    pub(crate) owner: u64,
    /// The most bytes of a value.
    pub(crate) max_value: usize,
}

/// What an engine opens.
pub(crate) enum AnyStore {
    Exclusive(Box<dyn Store>),
    Shared(Arc<dyn SharedStore>),
}

/// The contents of one bucket, where they outlive it and nobody else has them. To drop it is to close it.
pub(crate) trait Store: Send + Sync {
    /// Tells all that is kept, in whatever order; what is refused ends it.
    fn load(&self, into: &mut dyn Loading) -> Result<(), Error>;

    /// Stores all or none, and answers when they are stored. `Error::Io`: nobody knows which; after
    /// any other error none.
    fn write(&self, changes: &[Written<'_>]) -> Result<(), Error>;
}

/// What is told what a store has.
pub(crate) trait Loading {
    fn entry(&mut self, entry: Loaded<'_>) -> Result<(), Error>;

    /// Up to this one revisions were used, whatever the entries have.
    fn used_up_to(&mut self, revision: u64);
}

/// One change, as it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'a> {
    Put {
        key: &'a [u8],
        value: ValueRef<'a>,
        revision: u64,
        /// When the key goes, in milliseconds since 1970.
        expires: Option<i64>,
    },
    Delete {
        key: &'a [u8],
        revision: u64,
    },
    /// All keys go.
    Clear {
        revision: u64,
    },
}
