//! kvreg: a registry of named key-value buckets inside a process, with Erlang's process model
//! behind a C interface. `include/kvreg.h` is the reference; these are the same objects for
//! Rust programs and tests.
//!
//! Two halves that know each other in one direction only: the core (this level), and `capi`,
//! the boundary.

mod bucket;
mod budget;
mod caller;
pub mod capi;
mod circle;
mod epoch;
mod error;
mod fork;
mod handle;
mod hash;
mod inbox;
mod kept;
mod leaving;
mod listener;
mod local;
mod log;
mod options;
mod panic;
mod platform;
mod process;
mod protocol;
mod reason;
mod registry;
mod runtime;
mod server;
mod spare;
mod supervisor;
mod sync;
mod table;
#[cfg(test)]
mod table_tests; // not in the model, which has scenarios of its own
mod thread;
mod value;

pub use bucket::{Bucket, BucketInfo, Update, Verdict, KEY_LIMIT};
pub use caller::Timeout;
pub use error::Error;
pub use inbox::{Event, Inbox};
pub use listener::{Address, Listener, ListenerOptions, Password};
pub use log::Level;
pub use options::{BucketOptions, RegistryOptions, Restart};
pub use process::Options;
pub use reason::Reason;
pub use registry::{Registry, RegistryInfo, NAME_LIMIT};
pub use value::{Text, Value, ValueRef, VALUE_LIMIT};
