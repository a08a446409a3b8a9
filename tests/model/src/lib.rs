//! The server core of kvreg under a model checker: the files are the library's own, only the
//! primitives below them are the checker's (`sync`) and the runtime is a stand-in (`runtime`).

#![cfg(test)]
#![allow(dead_code, unused_imports)] // the library uses more of the core than the scenarios do

mod arming;
mod ends;
#[path = "../../../src/error.rs"]
mod error;
mod freeing;
mod hash;
mod many;
mod map;
#[path = "../../../src/memory.rs"]
mod memory;
mod openings;
mod places;
mod reading;
#[path = "../../../src/reason.rs"]
mod reason;
mod reclaim;
mod runtime;
mod scenarios;
#[path = "../../../src/server/mod.rs"]
mod server;
mod spots;
#[cfg(target_os = "linux")]
mod stacks;
#[path = "../../../src/store/mod.rs"]
mod store;
mod subject;
mod sync;
#[path = "../../../src/table/mod.rs"]
mod table;
#[path = "../../../src/time.rs"]
mod time;
mod times;
mod turns;
mod updates;
#[path = "../../../src/value/mod.rs"]
mod value;
mod watching;
