//! The C interface: handles, status, values; one file for each object of the header.
//!
//! Every function has the same shape: `guard` catches what must not cross the boundary,
//! `object::with` looks the handle up before anything else is touched, `argument` turns
//! pointers into slices, and the core does the work. Those that are called most go a shorter
//! way first (`fast`). The `unsafe` of this half is in these four and in `value`; each of its
//! helpers says what it asks of C callers, which is what the header asks of them: that pointers
//! are good for their lengths.
//!
//! `@name` at the beginning of a doc comment is the heading of a group in the header: the
//! functions from there to the next one.

#![allow(non_camel_case_types)] // C's names for C's types
#![allow(clippy::missing_safety_doc)] // said once, here and in the header

#[cfg(test)]
#[macro_use]
mod layout;

mod argument;
mod begun;
mod fast;
mod guard;
mod handlers;
mod handles;
mod info;
mod kinds;
mod object;
mod one_key;
mod options;
mod status;

// The header has the functions in this order.
mod process;

mod names;

mod value;

mod registry;

mod bucket;

mod columns;

mod typed;

mod entry;

mod apply;

mod saving;

mod update;

mod servers;

mod calls;

mod sending;

mod messages;

mod replies;

mod turns;

mod life;

mod scan;

mod items;

mod inbox;

mod watches;

mod event;

mod listener;

mod engine;

pub(crate) use engine::load_engine;
pub(crate) use handles::free_all;
