//! What a bucket holds, behind one interface: entries, their limits, and who is told of changes.
//!
//! There is one kind of contents, in memory, which the short ways know directly. What is above
//! knows neither the table nor its entries: it prepares a [`Pair`], and asks.

mod batch;
mod conditions;
mod contents;
mod cursor;
mod key;
mod key_log;
mod limits;
mod many;
mod reading;
mod revisions;
mod snapshot;
mod stored;
mod watched;
mod watching;
mod writing;

pub(crate) use conditions::{Always, Changed, Condition, Expected, New};
pub(crate) use contents::{Change, Contents, Observer, Pair, Unread, ValueSpot};
pub(crate) use cursor::{Cursor, Step, Told, Wanted, Watched};
pub(crate) use key::Key;
pub use key::KEY_LIMIT;
pub(crate) use key_log::Kind;
#[cfg(test)]
#[allow(unused_imports)] // as above
pub(crate) use key_log::{KeyLog, Record};
pub(crate) use limits::Limits;
pub(crate) use many::{Left, Many};
pub(crate) use reading::{Owned, Reader};
pub(crate) use revisions::{RevisionBlocks, Revisions};
pub(crate) use stored::Small;
#[cfg(test)]
#[allow(unused_imports)] // the model's scenarios use it
pub(crate) use stored::Stored;
pub(crate) use watching::{Covered, Watch, Watching, Woken};
