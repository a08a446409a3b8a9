#![doc = include_str!("README.md")]
// The modules stand on floors, each of which knows only those below it; `tests/floors.rs` says
// which is where.
#![warn(missing_docs)]
// The core has short ways, and what checks handles, that only the C interface takes.
#![cfg_attr(not(feature = "capi"), allow(dead_code, unused_imports))]

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
mod memory;
mod process;
mod protocol;
mod reason;
mod reclaim;
mod registry;
mod runtime;
mod server;
mod store;
#[cfg(test)]
#[path = "store/tests.rs"]
mod store_tests; // not in the model, which has scenarios of its own
mod sync;
mod table;
#[cfg(test)]
#[path = "table/tests.rs"]
mod table_tests; // nor these
mod time;
mod user_server;
mod value;
mod watch;

#[cfg(feature = "aio")]
pub use api::aio;
pub use api::{configure, version};
pub use api::{
    Actor, Arguments, Context, Down, Foreign, Handles, Made, Message, Messages, NotAnswered, Reply,
    Server, ServerInfo, ServerLike, ServerOptions, Unanswered,
};
pub use api::{Batch, Bucket, Entry, Inbox, Item, Listener, Names, NotApplied, Registry};
pub use api::{Scan, Ttl, Update};
pub use bucket::{BucketInfo, BucketOptions, Lacks, OnFull, Order, Reads, Verdict};
pub use error::Error;
pub use inbox::{ChangeKind, Event, WatchOptions};
pub use listener::{Address, ListenerOptions, Password};
pub use log::Level;
pub use process::Options;
pub use reason::Reason;
pub use registry::{RegistryInfo, RegistryOptions, NAME_LIMIT};
pub use server::Restart;
pub use store::KEY_LIMIT;
pub use time::Timeout;
pub use value::{AsValue, FromValue, Text, Value, ValueRef, VALUE_LIMIT};

/// Loads the engines of a shared object, by its path, and has it register them for the URLs of
/// [`BucketOptions::store`]. It stays loaded. [`Error::Io`] if it cannot be loaded, and
/// [`Error::AlreadyStarted`] if its scheme has an engine. Blocks for the disk.
///
/// ```
/// let refused = kvreg::load_engine("/none/libkvreg_dir.so");
/// assert!(matches!(refused, Err(kvreg::Error::Io { .. })));
/// ```
#[cfg(feature = "capi")]
pub fn load_engine(path: &str) -> Result<(), Error> {
    capi::load_engine(path)
}

/// Ends everything in this process, whoever started it, in whatever language: all registries,
/// buckets and listeners, reason SHUTDOWN; then the library's threads, which it waits for at most
/// so long. [`Error::Timeout`] means that callbacks were still running then, and are left alone.
///
/// It need not be called: a process may just exit. Afterwards values stay valid, and everything
/// else answers [`Error::ShutDown`].
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Bucket, Error};
///
/// let bucket = Bucket::start()?;
/// kvreg::shutdown(Duration::from_secs(1))?;
/// assert_eq!(bucket.put("milk", 1), Err(Error::ShutDown));
/// assert_eq!(Bucket::start().err(), Some(Error::ShutDown));
/// # Ok::<(), Error>(())
/// ```
pub fn shutdown(timeout: impl Into<Timeout>) -> Result<(), Error> {
    #[cfg(feature = "capi")]
    let end_handles = capi::free_all;
    #[cfg(not(feature = "capi"))]
    let end_handles = |_: &'static process::Process| {};
    match api::shut_down(timeout.into(), end_handles)? {
        None => Ok(()),
        Some(_) => Err(Error::Timeout),
    }
}
