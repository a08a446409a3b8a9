//! What a bucket holds, behind one interface: entries, their limits, and who is told of changes.
//!
//! There is one kind of contents, in memory, which the short ways know directly. What is above
//! knows neither the table nor its entries: it prepares a [`Pair`], and asks.

mod apply;
mod armed_keys;
mod backed;
mod batch;
mod checksum;
mod conditions;
mod contents;
mod cursor;
mod engine;
mod eviction;
mod gathered;
mod items;
mod key;
mod key_log;
mod limits;
mod many;
mod mirror;
mod plan;
mod reading;
mod revisions;
mod saved;
mod shared;
mod snapshot;
mod stored;
mod times;
mod ttl;
mod wanted;
mod watched;
mod watching;
mod wheel;
mod writing;

pub(crate) use backed::Loaded;
pub(crate) use conditions::{Always, Changed, Condition, Expected, New};
pub(crate) use contents::{Change, Contents, Observer, Pair, Unread, ValueSpot};
pub(crate) use cursor::{Cursor, Follows, Step, Told, Watched};
pub(crate) use engine::{AnyStore, Engine, Loading, Location, Store, Written};
pub(crate) use items::{Item, Items, Left, NO_TTL};
pub(crate) use key::Key;
pub use key::KEY_LIMIT;
pub(crate) use key_log::Kind;
#[cfg(test)]
#[allow(unused_imports)] // as above
pub(crate) use key_log::{KeyLog, Record};
pub(crate) use limits::Limits;
pub(crate) use many::Many;
pub(crate) use mirror::{All, Own};
pub(crate) use plan::{Op, Plan, Refused, What};
pub(crate) use reading::{EntryFacts, Owned, Reader};
pub(crate) use revisions::{RevisionBlocks, Revisions};
pub(crate) use saved::{read_saved, write_saved};
pub(crate) use shared::{Abilities, Found, Hears, News, Sent, SharedChange, SharedStore, Which};
pub(crate) use stored::Small;
#[cfg(test)]
#[allow(unused_imports)] // the model's scenarios use them
pub(crate) use stored::{Life, Stored};
pub(crate) use times::{SWEEPING, UNARMED};
pub(crate) use ttl::{Living, Ttl, TTL_LIMIT};
pub(crate) use wanted::Wanted;
pub(crate) use watching::{Covered, Watch, Watching, Woken};
