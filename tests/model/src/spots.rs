//! What is tried of values that are changed where they were found, without a pin.

use std::sync::Arc;

use loom::thread::spawn;

use crate::error::Error;
use crate::openings::check_bounded;
use crate::reason::{Exit, Reason};
use crate::reclaim::Guard;
use crate::server::{Lasts, Server, State, Turn, Writing};
use crate::store::{Always, Contents, Key, Reader, Small};
use crate::subject::{forever, system};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

/// What a bucket is to an update: its contents, and nothing else.
struct Bucket(Contents);

// SAFETY: `exclusive` answers the state's own contents.
unsafe impl State for Bucket {
    type Exclusive = Contents;
    type Message = ();
    type Task = ();

    fn handle(_: &Arc<Server<Self>>, _: &Writing<'_, Bucket>, (): ()) -> Result<(), Error> {
        Ok(())
    }

    fn refused(_: &Arc<Server<Self>>, _: &Error) {}

    fn mailbox_limit(&self) -> usize {
        usize::MAX
    }

    fn run(_: Turn<Self>, (): ()) {}

    fn exclusive(&self) -> &Contents {
        &self.0
    }

    fn close(write: &Writing<'_, Bucket>) {
        write.exclusive().close();
    }

    fn ended(_: &Arc<Server<Self>>, _: &Exit) {}

    fn name(&self) -> Option<&str> {
        None
    }
}

const KEY: &[u8] = &[1, 0, b'a'];

fn bucket() -> Arc<Server<Bucket>> {
    let server = Server::start(system(), Bucket(Contents::new(None, None)));
    let put = |write: &Writing<'_, Bucket>| {
        let one = ValueRef::Int(1);
        write
            .exclusive()
            .put_small(Key::new(KEY), one, Always)
            .unwrap();
    };
    server.call(&mut forever(), put).unwrap();
    server
}

fn number(server: &Server<Bucket>) -> Option<i64> {
    match server.state().0.get(Key::new(KEY), &Clock::new()) {
        Ok(Value::Int(number)) => Some(number),
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Number;

// SAFETY: it copies nothing.
unsafe impl Reader for Number {
    type Read = Option<i64>;
    type Copy = ();

    fn scalar(self, value: ValueRef<'static>) -> Option<i64> {
        match value {
            ValueRef::Int(number) => Some(number),
            _ => None,
        }
    }

    fn copy(&self, _len: usize, _fill: impl FnOnce(*mut u8)) -> Option<()> {
        Some(())
    }

    fn copied(self, _is_string: bool, (): ()) -> Option<i64> {
        None
    }

    fn shared(self, _is_string: bool, _text: &crate::value::Shared) -> Option<i64> {
        None
    }
}

/// Adds one where the value was found, by the short way: `false` if that is barred. The entry must
/// be that of the key still.
fn add_there(server: &Arc<Server<Bucket>>) -> bool {
    let Some(turn) = server.fast_occupy(Lasts::Call) else {
        return false;
    };
    let contents = &server.state().0;
    let read = contents.fast_read_at(Key::new(KEY), &Guard::new(), Number, &Clock::new());
    let Some((Some(seen), spot)) = read else {
        return false;
    };
    let more = Small::of(ValueRef::Int(seen + 1)).unwrap();
    let Some(commit) = turn.inside().fast_commit() else {
        return false;
    };
    assert_eq!(number(server), Some(seen));
    // SAFETY: that is what is tried.
    let is_done = unsafe { commit.writing().exclusive().fast_put_at(spot, more) };
    assert_eq!(number(server), Some(seen + i64::from(is_done)));
    if is_done {
        commit.done();
    }
    is_done
}

#[test]
fn a_value_that_is_changed_where_it_was_found_against_the_end() {
    check_bounded(2, || {
        let server = bucket();
        let other = Arc::clone(&server);
        let thread = spawn(move || other.end(Exit::new(Reason::Killed, "")));
        add_there(&server);
        thread.join().unwrap();
        assert_eq!(number(&server), None);
    });
}

/// The snapshot is noted at any moment of the first update, and has it; the second is not of it,
/// and keeps nothing for it.
#[test]
fn a_value_that_is_changed_where_it_was_found_against_a_snapshot() {
    check_bounded(1, || {
        let server = bucket();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            let keys = [Key::new(KEY)];
            let read = other.state().0.get_many(&keys).unwrap();
            if let Some(values) = read {
                assert!(matches!(&values[..], [Some(Value::Int(1..=3))]));
            }
        });
        let done = [(); 2].map(|()| i64::from(add_there(&server)));
        thread.join().unwrap();
        assert_eq!(number(&server), Some(1 + done.iter().sum::<i64>()));
    });
}

#[test]
fn values_that_are_changed_where_they_were_found() {
    check_bounded(2, || {
        let server = bucket();
        let other = Arc::clone(&server);
        let thread = spawn(move || add_there(&other));
        let done = [add_there(&server), thread.join().unwrap()];
        let done = done.into_iter().filter(|done| *done).count();
        assert_eq!(number(&server), Some(1 + done as i64));
    });
}
