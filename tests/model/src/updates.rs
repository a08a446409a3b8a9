//! What is tried of the short ways of updates and of casts, and of who passes whom.

use crate::error::Error;
use crate::openings::{answered, beside, check, check_bounded, facts, occupied, until, Counter};
use crate::server::Lasts;
use crate::subject::{call, cast, forever, kill, peek, task, Facts, Subject};

/// An update by the short way, as far as that is open.
fn update(server: &Counter) -> Result<u32, Error> {
    let turn = match server.fast_occupy(Lasts::Call) {
        Some(turn) => turn,
        None => server.occupy(&mut forever(), Lasts::Call)?,
    };
    server.state().step_inside();
    let Some(commit) = turn.inside().fast_commit() else {
        return turn.inside().commit(|write| write.state().add(write));
    };
    let write = commit.writing();
    let seen = write.state().add(&write);
    commit.done();
    Ok(seen)
}

#[test]
fn short_updates_against_each_other() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| update(other).unwrap());
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
        let thread = beside(&server, |other| peek(other).unwrap());
        assert_eq!(update(&server), Ok(1));
        assert!(thread.join().unwrap() <= 1);
        assert_eq!(peek(&server), Ok(1));
    });
}

#[test]
fn a_short_update_against_a_call_and_a_kill() {
    check_bounded(2, || {
        let server = Subject::start();
        let thread = beside(&server, update);
        let killer = beside(&server, kill);
        answered(&call(&server));
        answered(&thread.join().unwrap());
        killer.join().unwrap();
    });
}

/// Without a count: the server is vacated, and may be gone, when nobody is inside any more.
#[test]
fn a_kept_turn_against_a_kill() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let killer = beside(&server, kill);
        // SAFETY: the model's thread has a count.
        if let Some(turn) = unsafe { server.fast_occupy_kept(Lasts::Call) } {
            assert_eq!(Facts::count(&facts.vacated), 0);
            server.state().step_inside();
            if let Some(commit) = turn.inside().fast_commit() {
                let write = commit.writing();
                write.state().add(&write);
                commit.done();
            }
        }
        killer.join().unwrap();
        assert_eq!(Facts::count(&facts.vacated), 1);
    });
}

/// Who has the turn for the mail before his call is the last inside, too.
#[test]
fn a_call_behind_mail_against_a_kill_is_told_when_nobody_is_inside() {
    check_bounded(1, || {
        let server = Subject::start();
        let facts = facts(&server);
        let turn = server.fast_occupy(Lasts::Call).unwrap();
        cast(&server).unwrap(); // it has to wait
        let caller = beside(&server, |other| answered(&call(other)));
        let killer = beside(&server, kill);
        drop(turn);
        caller.join().unwrap();
        killer.join().unwrap();
        until(|| Facts::count(&facts.vacated) == 1);
    });
}

#[test]
fn a_short_update_leaves_no_cast_behind() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            cast(other).unwrap();
            assert!(peek(other).unwrap() >= 1);
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
        let thread = beside(&server, |other| call(other).unwrap());
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
        let (server, turn) = occupied();
        let thread = beside(&server, |other| {
            cast(other).unwrap();
            cast(other).unwrap();
            assert!(peek(other).unwrap() >= 2);
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
        let (server, turn) = occupied();
        let sent = [(); 2].map(|()| cast(&server).is_ok());
        assert_eq!(sent, [true, true]);
        drop(turn);
        let thread = beside(&server, kill);
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
        let (server, turn) = occupied();
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
        let (server, turn) = occupied();
        cast(&server).unwrap();
        drop(turn);
        let thread = beside(&server, kill);
        let _ = cast(&server);
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).ended), 1);
    });
}

#[test]
fn a_cast_behind_a_task() {
    check_bounded(2, || {
        let (server, turn) = occupied();
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
        let (server, turn) = occupied();
        let threads = [(); 2].map(|()| beside(&server, |other| call(other).unwrap()));
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
        let (server, turn) = occupied();
        let thread = beside(&server, |other| call(other).unwrap());
        drop(turn);
        for _ in 0..2 {
            update(&server).unwrap();
        }
        thread.join().unwrap();
        assert_eq!(peek(&server), Ok(3));
    });
}

/// One was passed, and is kept the turn while another handles mail that came after it: who gives
/// that turn back does not take it again, and wakes the one it is kept for.
#[test]
fn a_turn_that_is_kept_for_a_sleeper_wakes_it() {
    check_bounded(2, || {
        let (server, turn) = occupied();
        let thread = beside(&server, |other| call(other).unwrap());
        // It looks, finds the turn taken, and sleeps.
        for _ in 0..2 {
            loom::thread::yield_now();
        }
        cast(&server).unwrap();
        drop(turn);
        call(&server).unwrap();
        thread.join().unwrap();
        assert_eq!(peek(&server), Ok(3));
    });
}

fn short_call(server: &Counter) -> u32 {
    let added = server.fast_call(|write| Some(write.state().add(write)));
    u32::from(added.is_some())
}

#[test]
fn short_calls_have_the_turn_to_themselves() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, short_call);
        let done = short_call(&server) + thread.join().unwrap();
        assert_eq!(peek(&server), Ok(done));
    });
}

#[test]
fn a_short_call_that_was_refused_leaves_the_turn_where_it_is() {
    check(|| {
        let (server, turn) = occupied();
        let thread = beside(&server, |other| short_call(other) + short_call(other));
        let during = short_call(&server);
        assert_eq!(during, 0);
        drop(turn);
        let done = thread.join().unwrap();
        assert_eq!(peek(&server), Ok(done));
    });
}
