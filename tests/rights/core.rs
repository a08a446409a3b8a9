//! What must not compile: of each case the line `// wrong`, and nothing else. With the line
//! `// right` in its place it does. Not a test itself: see `tests/rights.rs`.

use std::sync::Arc;

use crate::error::Error;
use crate::reason::Exit;
use crate::reclaim::Guard;
use crate::server::{Caller, Exclusive, Server, State, Turn, Writing};
use crate::store::{Always, Contents, Pair, Reader};
use crate::sync::{Area, ThreadLocal};
use crate::table::{Table, TableValue};
use crate::value::{Shared, ValueRef};

/// A server's state that holds contents, and others beside them.
pub(crate) struct Mine {
    contents: Contents,
}

// E0200: requires an `unsafe impl` declaration
impl State for Mine { // wrong
unsafe impl State for Mine { // right
    type Exclusive = Contents;
    type Message = Pair;
    type Task = ();

    fn handle(
        _server: &Arc<Server<Self>>,
        write: &Writing<'_, Self>,
        message: Pair,
    ) -> Result<(), Error> {
        write.exclusive().put(message, Always).map(|_| ())
    }
    fn refused(_server: &Arc<Server<Self>>, _error: &Error) {}
    fn mailbox_limit(&self) -> usize {
        1
    }
    fn run(_turn: Turn<Self>, _task: ()) {}
    fn exclusive(&self) -> &Contents {
        &self.contents
    }
    fn close(write: &Writing<'_, Self>) {
        write.exclusive().close();
    }
    fn ended(_server: &Arc<Server<Self>>, _exit: &Exit) {}
    fn name(&self) -> Option<&str> {
        None
    }
}

pub(crate) fn changes_another_server(
    one: &Arc<Server<Mine>>,
    other: &Arc<Server<Mine>>,
    caller: &mut Caller<'_>,
    pair: Pair,
) {
    let _ = one.call(caller, |write| {
        // E0599: no method named `put` found
        let _ = (write, other.state().contents.put(pair, Always)); // wrong
        let _ = (write.exclusive().put(pair, Always), other); // right
    });
}

pub(crate) fn makes_a_right(server: &Server<Mine>) {
    // E0624: associated function `new` is private
    let write = unsafe { Writing::new(server) }; // wrong
    let write = server; // right
    let _ = write.state();
}

pub(crate) fn lends_the_right_to_a_thread(server: &Arc<Server<Mine>>, caller: &mut Caller<'_>) {
    let _ = server.call(caller, |write| {
        std::thread::scope(|scope| {
            // E0277: cannot be shared between threads safely
            scope.spawn(|| write.exclusive().close()); // wrong
            scope.spawn(|| ()); // right
        });
        write.exclusive().close();
    });
}

pub(crate) fn sends_a_part_to_a_thread(exclusive: Exclusive<'_, Contents>) {
    std::thread::scope(|scope| {
        // E0277: cannot be sent between threads safely
        scope.spawn(move || exclusive.close()); // wrong
        exclusive.close(); // right
        scope.spawn(|| ());
    });
}

pub(crate) fn keeps_the_right(server: &Arc<Server<Mine>>, caller: &mut Caller<'_>) {
    let mut kept: Option<&Writing<'_, Mine>> = None;
    let _ = server.call(caller, |write| {
        // E0521: borrowed data escapes outside of closure
        kept = Some(write); // wrong
        write.exclusive().close(); // right
    });
    let _ = kept.take();
}

pub(crate) fn keeps_a_part(server: &Arc<Server<Mine>>, caller: &mut Caller<'_>) {
    let mut kept: Option<Exclusive<'_, Contents>> = None;
    let _ = server.call(caller, |write| {
        // E0521: borrowed data escapes outside of closure
        kept = Some(write.exclusive()); // wrong
        write.exclusive().close(); // right
    });
    let _ = kept.take();
}

pub(crate) struct Number(u64);

impl TableValue for Number {}

pub(crate) fn writes_a_table(table: &Table<Number>, pinned: &Guard) {
    // E0133: is unsafe and requires unsafe
    let writer = table.writer(pinned); // wrong
    let writer = unsafe { table.writer(pinned) }; // right
    writer.clear();
}

/// Says that it has room.
pub(crate) struct Roomless;

// E0200: requires an `unsafe impl` declaration
impl Reader for Roomless { // wrong
unsafe impl Reader for Roomless { // right
    type Read = ();
    type Copy = ();

    fn scalar(self, _value: ValueRef<'static>) {}
    fn copy(&self, _len: usize, fill: impl FnOnce(*mut u8)) -> Option<()> {
        fill(std::ptr::null_mut());
        Some(())
    }
    fn copied(self, _is_string: bool, _text: ()) {}
    fn shared(self, _is_string: bool, _text: &Shared) {}
}

/// Takes another's area.
pub(crate) struct Elsewhere(bool);

// E0200: requires an `unsafe impl` declaration
impl ThreadLocal for Elsewhere { // wrong
unsafe impl ThreadLocal for Elsewhere { // right
    const AREA: Area = Area::Pins;
}
