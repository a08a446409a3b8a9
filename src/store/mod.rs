//! What a bucket holds, behind one interface: entries, their limits, and who is told of changes.
//!
//! There is one kind of contents, in memory, which the short ways know directly. What is above
//! knows neither the table nor its entries: it prepares a [`Pair`], and asks.

mod apply;
mod batch;
mod checksum;
mod conditions;
mod contents;
mod key;
mod limits;
mod many;
mod plan;
mod reading;
mod revisions;
mod saved;
mod snapshot;
mod stored;
mod writing;

pub(crate) use conditions::{Always, Changed, Condition, Expected, New};
pub(crate) use contents::{Change, Contents, Observer, Pair, Unread, ValueSpot};
pub(crate) use key::Key;
pub use key::KEY_LIMIT;
pub(crate) use limits::Limits;
pub(crate) use many::{Item, Left, Many};
pub(crate) use plan::{Op, Plan, Refused, What};
pub(crate) use reading::{Owned, Reader};
pub(crate) use revisions::RevisionBlocks;
pub(crate) use saved::{read_saved, write_saved, ToSave};
pub(crate) use stored::Small;
#[cfg(test)]
#[allow(unused_imports)] // the model's scenarios use it
pub(crate) use stored::Stored;
