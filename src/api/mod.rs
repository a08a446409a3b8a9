//! The objects of Rust programs: handles that count, and calls with the handle's timeout.

#[cfg(feature = "aio")]
pub mod aio;
mod batch;
mod bucket;
mod conditions;
mod inbox;
mod listener;
mod process;
mod registry;
mod saving;
mod scan;
pub(crate) mod server;
mod update;

pub use batch::{Batch, NotApplied};
pub use bucket::Bucket;
pub use conditions::{Entry, Ttl};
pub use inbox::Inbox;
pub use listener::Listener;
pub(crate) use process::shut_down;
pub use process::{configure, version};
pub use registry::{Names, Registry};
pub use scan::{Item, Scan};
pub use server::{
    Actor, Arguments, Context, Down, Foreign, Handles, Made, Message, Messages, NotAnswered, Reply,
    Server, ServerInfo, ServerLike, ServerOptions, Unanswered,
};
pub use update::Update;

use crate::error::Error;
use crate::server::System;

/// Refuses what was inherited through `fork`: its locks may be held by threads that are the
/// parent's.
fn check_inherited(system: &System) -> Result<(), Error> {
    match system.is_current() {
        true => Ok(()),
        false => Err(Error::Forked),
    }
}

/// What a call answers: after `shutdown` that, and not that its server has ended.
fn told<T>(system: &System, answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        Err(Error::NoProcess | Error::ServerDown) if system.threads().is_shut_down() => {
            Err(Error::ShutDown)
        }
        answer => answer,
    }
}
