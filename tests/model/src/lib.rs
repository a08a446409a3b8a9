//! The server core of kvreg under a model checker: the files are the library's own, only the
//! primitives below them are the checker's (`sync`) and the runtime is a stand-in (`process`).

#![cfg(test)]
#![allow(dead_code)] // the library uses more of the core than the scenarios do

#[path = "../../../src/caller.rs"]
mod caller;
#[path = "../../../src/circle.rs"]
mod circle;
mod epoch;
#[path = "../../../src/error.rs"]
mod error;
mod hash;
#[path = "../../../src/kept.rs"]
mod kept;
mod leaving;
mod local;
mod map;
mod panic;
mod process;
mod reading;
#[path = "../../../src/reason.rs"]
mod reason;
mod scenarios;
#[path = "../../../src/server/mod.rs"]
mod server;
#[path = "../../../src/spare.rs"]
mod spare;
#[path = "../../../src/bucket/stored.rs"]
mod stored;
mod subject;
mod sync;
#[path = "../../../src/table/mod.rs"]
mod table;
#[path = "../../../src/thread.rs"]
mod thread;
#[path = "../../../src/value.rs"]
mod value;
