//! What a bucket holds, behind one interface: entries, their limits, and who is told of changes.
//!
//! There is one kind of contents, in memory, which the short ways know directly. What is above
//! knows neither the table nor its entries: it prepares a [`Pair`], and asks.

mod batch;
mod conditions;
mod contents;
mod key;
mod limits;
mod many;
mod reading;
mod revisions;
mod snapshot;
mod stored;
mod times;
mod ttl;
mod wheel;
mod writing;

pub(crate) use conditions::{Always, Changed, Condition, Expected, New};
pub(crate) use contents::{Change, Contents, Observer, Pair, Unread, ValueSpot};
pub(crate) use key::Key;
pub use key::KEY_LIMIT;
pub(crate) use limits::Limits;
pub(crate) use many::{Left, Many};
pub(crate) use reading::{EntryFacts, Owned, Reader};
pub(crate) use revisions::RevisionBlocks;
pub(crate) use stored::Small;
#[cfg(test)]
#[allow(unused_imports)] // the model's scenarios use them
pub(crate) use stored::{Life, Stored};
pub(crate) use times::{SWEEPING, UNARMED};
pub(crate) use ttl::{Living, Ttl};
