//! kvreg: a registry of named key-value buckets inside a process, with Erlang's process model
//! behind a C interface. `include/kvreg.h` is the reference; these are the same objects for
//! Rust programs and tests.
//!
//! The modules stand on floors, each of which knows only those below it; `tests/floors.rs` says
//! which is where.

mod api;
mod bucket;
#[cfg(feature = "capi")]
pub mod capi;
mod error;
#[cfg(feature = "capi")]
mod handle_table;
mod hash;
mod inbox;
mod listener;
mod log;
mod process;
mod protocol;
mod reason;
mod reclaim;
mod registry;
mod runtime;
mod server;
mod store;
mod sync;
mod table;
#[cfg(test)]
#[path = "table/tests.rs"]
mod table_tests; // not in the model, which has scenarios of its own
mod time;
mod value;
mod watch;

pub use api::{Bucket, Inbox, Listener, Registry, Update};
pub use bucket::{BucketInfo, BucketOptions, Verdict};
pub use error::Error;
pub use inbox::Event;
pub use listener::{Address, ListenerOptions, Password};
pub use log::Level;
pub use process::Options;
pub use reason::Reason;
pub use registry::{RegistryInfo, RegistryOptions, NAME_LIMIT};
pub use server::Restart;
pub use store::KEY_LIMIT;
pub use time::Timeout;
pub use value::{Text, Value, ValueRef, VALUE_LIMIT};
