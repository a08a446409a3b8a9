//! What is tried of the short ways of updates and of casts, and of who passes whom.

use std::sync::Arc;

use loom::thread::spawn;

use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::reclaim::Guard;
use crate::scenarios::{answered, check, check_bounded, facts, until, Counter};
use crate::server::{Lasts, Server, State, Turn, Writing};
use crate::store::{Contents, Key, Reader, Small};
use crate::subject::{call, cast, forever, kill, peek, system, task, Facts, Subject};
use crate::value::{Value, ValueRef};

/// An update by the short way, as far as that is open.
fn update(server: &Counter) -> Result<u32, Error> {
    let turn = match server.fast_occupy(Lasts::Call) {
        Some(turn) => turn,
        None => server.occupy(&mut forever(), Lasts::Call)?,
    };
    server.state().step_inside();
    let mut seen = 0;
    let add = |write: &Writing<'_, Subject>| {
        seen = write.state().add(write);
        true
    };
    match turn.inside().fast_commit(add) {
        true => Ok(seen),
        false => turn.inside().commit(|write| write.state().add(write)),
    }
}

#[test]
fn short_updates_against_each_other() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || update(&other).unwrap());
        let mut seen = [update(&server).unwrap(), thread.join().unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

/// The snapshot takes `WRITE` alone, at any moment of the update.
#[test]
fn a_short_update_against_a_snapshot() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || peek(&other).unwrap());
        assert_eq!(update(&server), Ok(1));
        assert!(thread.join().unwrap() <= 1);
        assert_eq!(peek(&server), Ok(1));
    });
}

#[test]
fn a_short_update_against_a_call_and_a_kill() {
    check_bounded(2, || {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || update(&other));
        let killer = Arc::clone(&server);
        let killer = spawn(move || kill(&killer));
        answered(&call(&server));
        answered(&thread.join().unwrap());
        killer.join().unwrap();
    });
}

#[test]
fn a_short_update_leaves_no_cast_behind() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            cast(&other).unwrap();
            assert!(peek(&other).unwrap() >= 1);
        });
        update(&server).unwrap();
        thread.join().unwrap();
        let facts = facts(&server);
        until(|| Facts::count(&facts.handled) == 1);
        assert_eq!(peek(&server), Ok(2));
    });
}

#[test]
fn what_changed_nothing_ends_the_short_way() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other).unwrap());
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        if !turn.inside().fast_keep() {
            turn.inside().commit(|_| ()).unwrap();
        }
        drop(turn);
        assert_eq!(thread.join().unwrap(), 1);
    });
}

/// Two casts are queued, so that they are taken out together: by the drain, or by the read.
#[test]
fn a_read_waits_for_casts_that_are_taken_together() {
    check_bounded(2, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            cast(&other).unwrap();
            cast(&other).unwrap();
            assert!(peek(&other).unwrap() >= 2);
        });
        drop(turn);
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).handled), 2);
    });
}

/// Whatever was taken out when the end came: the sender's read passes only behind it.
#[test]
fn casts_that_are_taken_together_against_a_kill() {
    check_bounded(2, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let sent = [(); 2].map(|()| cast(&server).is_ok());
        assert_eq!(sent, [true, true]);
        drop(turn);
        let other = Arc::clone(&server);
        let thread = spawn(move || kill(&other));
        let facts = facts(&server);
        let passes = server.await_own_casts(&mut forever()).is_ok();
        if passes && Facts::count(&facts.closed) == 0 {
            assert_eq!(Facts::count(&facts.handled), 2);
        }
        thread.join().unwrap();
        until(|| Facts::count(&facts.handled) + Facts::count(&facts.dropped) == 2);
    });
}

/// A cast that finds mail there handles it, and then itself; or the drain was faster.
#[test]
fn a_cast_behind_mail() {
    check_bounded(2, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        cast(&server).unwrap();
        drop(turn);
        cast(&server).unwrap();
        assert_eq!(peek(&server), Ok(2));
        assert_eq!(Facts::count(&facts(&server).handled), 2);
    });
}

/// The end comes while a cast handles the mail before it.
#[test]
fn a_cast_behind_mail_against_a_kill() {
    check_bounded(1, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        cast(&server).unwrap();
        drop(turn);
        let other = Arc::clone(&server);
        let thread = spawn(move || kill(&other));
        let _ = cast(&server);
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).ended), 1);
    });
}

#[test]
fn a_cast_behind_a_task() {
    check_bounded(2, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        task(&server).unwrap();
        drop(turn);
        cast(&server).unwrap();
        assert_eq!(peek(&server), Ok(2));
        assert_eq!(Facts::count(&facts(&server).handled), 2);
    });
}

/// Two sleep, and a third passes: each gets its turn.
#[test]
fn sleepers_against_who_passes_them() {
    check_bounded(1, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let threads = [(); 2].map(|()| {
            let other = Arc::clone(&server);
            spawn(move || call(&other).unwrap())
        });
        drop(turn);
        update(&server).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(peek(&server), Ok(3));
    });
}

/// One sleeps, and another passes as often as it may.
#[test]
fn a_sleeper_against_who_passes_it() {
    check_bounded(2, || {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other).unwrap());
        drop(turn);
        for _ in 0..2 {
            update(&server).unwrap();
        }
        thread.join().unwrap();
        assert_eq!(peek(&server), Ok(3));
    });
}

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
    let server = Server::start(system(), Bucket(Contents::new(None)));
    let put = |write: &Writing<'_, Bucket>| {
        let one = ValueRef::Int(1);
        write.exclusive().put_small(Key::new(KEY), one).unwrap();
    };
    server.call(&mut forever(), put).unwrap();
    server
}

fn number(server: &Server<Bucket>) -> Option<i64> {
    match server.state().0.get(Key::new(KEY)) {
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
    let read = contents.fast_read_at(Key::new(KEY), &Guard::new(), Number);
    let Some((Some(seen), spot)) = read else {
        return false;
    };
    let more = Small::of(ValueRef::Int(seen + 1)).unwrap();
    turn.inside().fast_commit(|write| {
        assert_eq!(number(server), Some(seen));
        // SAFETY: that is what is tried.
        let is_done = unsafe { write.exclusive().fast_put_at(spot, &more) };
        assert_eq!(number(server), Some(seen + i64::from(is_done)));
        is_done
    })
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

/// The snapshot is noted at any moment of the update, which then keeps nothing for it.
#[test]
fn a_value_that_is_changed_where_it_was_found_against_a_snapshot() {
    check_bounded(2, || {
        let server = bucket();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            let keys = [Key::new(KEY)];
            let read = other.state().0.get_many(&keys).unwrap();
            if let Some(values) = read {
                assert!(matches!(&values[..], [Some(Value::Int(1 | 2))]));
            }
        });
        let is_done = add_there(&server);
        thread.join().unwrap();
        assert_eq!(number(&server), Some(1 + i64::from(is_done)));
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
