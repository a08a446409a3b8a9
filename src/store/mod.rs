//! What a bucket holds, behind one interface: entries, their limits, and who is told of changes.
//!
//! There is one kind of contents, in memory, which the short ways know directly. What is above
//! knows neither the table nor its entries: it prepares a [`Pair`], and asks.

mod contents;
mod limits;
mod reading;
mod stored;
mod writing;

pub use contents::KEY_LIMIT;
pub(crate) use contents::{Change, Contents, Observer, Pair};
pub(crate) use limits::Limits;
pub(crate) use reading::Reader;
