//! What is tried of ends, of links and of monitors.

use std::sync::Arc;

use crate::error::Error;
use crate::openings::{answered, beside, check, check_bounded, facts, occupied};
use crate::server::{AnyServer, Lasts};
use crate::subject::{call, cast, forever, kill, peek, system, task, Facts, Inbox, Subject};

#[test]
fn call_against_stop() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, call);
        assert_eq!(server.stop(&mut forever()), Ok(()));
        let answer = thread.join().unwrap();
        answered(&answer);
        assert_eq!(call(&server), Err(Error::NoProcess));
        assert_eq!(Facts::count(&facts(&server).ended), 1);
    });
}

#[test]
fn call_and_cast_against_kill() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let thread = beside(&server, |other| {
            let sent = cast(other).is_ok();
            answered(&call(other));
            sent
        });
        kill(&server);
        assert_eq!(cast(&server), Err(Error::NoProcess));
        thread.join().unwrap();
        let envelopes = Facts::count(&facts.handled) + Facts::count(&facts.dropped);
        assert_eq!(envelopes, 2, "each envelope goes once");
        assert_eq!(Facts::count(&facts.ended), 1);
    });
}

#[test]
fn task_against_kill() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            let _ = task(other);
            answered(&call(other));
        });
        kill(&server);
        thread.join().unwrap();
    });
}

/// It may pass only if both casts of its thread are handled, or if it finds the state closed.
#[test]
fn a_read_passes_no_cast_that_the_end_takes_out() {
    check_bounded(2, || {
        let server = Subject::start();
        let thread = beside(&server, kill);
        if task(&server).is_ok() && cast(&server).is_ok() {
            let passes = server.await_own_casts(&mut forever()).is_ok();
            let facts = facts(&server);
            if passes && Facts::count(&facts.closed) == 0 {
                assert_eq!(Facts::count(&facts.handled), 2);
            }
        }
        thread.join().unwrap();
    });
}

#[test]
fn stop_against_stop() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| other.stop(&mut forever()));
        for stopped in [server.stop(&mut forever()), thread.join().unwrap()] {
            assert!(matches!(stopped, Ok(()) | Err(Error::NoProcess)));
        }
        assert_eq!(Facts::count(&facts(&server).ended), 1);
    });
}

#[test]
fn stop_against_kill() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, kill);
        let stopped = server.stop(&mut forever());
        assert!(matches!(
            stopped,
            Ok(()) | Err(Error::ServerDown | Error::NoProcess)
        ));
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).ended), 1);
    });
}

/// Either the link was made, and both go, or it was refused, and the other lives.
#[test]
fn link_against_kill() {
    check(|| {
        let system = system();
        let [one, two] = [(); 2].map(|()| Subject::start_in(system));
        let first = one.as_any();
        let thread = beside(&two, move |two| two.link(&first));
        kill(&one);
        let linked = thread.join().unwrap();
        match linked {
            Ok(()) => assert!(two.has_ended()),
            Err(Error::NoProcess) => assert_eq!(call(&two), Ok(1)),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(one.link(&two.as_any()), Err(Error::NoProcess));
    });
}

#[test]
fn both_ends_of_a_link_are_killed() {
    check(|| {
        let system = system();
        let [one, two] = [(); 2].map(|()| Subject::start_in(system));
        one.link(&two.as_any()).unwrap();
        let thread = beside(&two, kill);
        kill(&one);
        thread.join().unwrap();
        for server in [one, two] {
            assert!(server.has_ended());
            assert_eq!(Facts::count(&facts(&server).ended), 1);
        }
    });
}

#[test]
fn links_are_made_and_unmade_from_both_ends() {
    check(|| {
        let system = system();
        let [one, two] = [(); 2].map(|()| Subject::start_in(system));
        let first = one.as_any();
        let thread = beside(&two, move |two| {
            two.link(&first).unwrap();
            two.unlink(&first);
        });
        one.link(&two.as_any()).unwrap();
        one.unlink(&two.as_any());
        thread.join().unwrap();
        kill(&one);
        assert_eq!(call(&two), Ok(1));
    });
}

#[test]
fn each_monitor_gets_one_down() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let inbox = Arc::new(Inbox(Arc::clone(&facts)));
        assert!(server.monitor(1, Arc::clone(&inbox) as _));
        let thread = beside(&server, |other| other.stop(&mut forever()).unwrap());
        let late = server.monitor(2, inbox);
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts.downs), 1 + u32::from(late));
        assert!(!server.monitor(3, Arc::new(Inbox(Arc::clone(&facts)))));
    });
}

#[test]
fn demonitor_against_kill() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        server.monitor(1, Arc::new(Inbox(Arc::clone(&facts))));
        let thread = beside(&server, kill);
        server.demonitor(1);
        thread.join().unwrap();
        assert!(Facts::count(&facts.downs) <= 1);
    });
}

#[test]
fn kill_against_kill() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        server.monitor(1, Arc::new(Inbox(Arc::clone(&facts))));
        let thread = beside(&server, |other| {
            kill(other);
            assert_eq!(call(other), Err(Error::NoProcess), "whoever was faster");
        });
        kill(&server);
        assert_eq!(peek(&server), Err(Error::NoProcess));
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts.downs), 1);
        assert_eq!(Facts::count(&facts.ended), 1);
    });
}

#[test]
fn an_update_against_kill_and_call() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            let turn = other.occupy(&mut forever(), Lasts::Call)?;
            other.state().step_inside();
            turn.inside().commit(|write| write.state().add(write))
        });
        let killer = beside(&server, kill);
        answered(&call(&server));
        answered(&thread.join().unwrap());
        killer.join().unwrap();
    });
}

#[test]
fn a_kill_answers_those_who_wait_for_an_update() {
    check(|| {
        let (server, turn) = occupied();
        let waiting = beside(&server, |other| answered(&call(other)));
        kill(&server);
        // Joined while the turn is held: nobody else will wake it.
        assert_eq!(waiting.join().unwrap(), 0);
        assert!(turn
            .inside()
            .commit(|write| write.state().add(write))
            .is_err());
    });
}

#[test]
fn stop_comes_after_what_is_queued() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let thread = beside(&server, |other| drop(call(other)));
        cast(&server).unwrap();
        assert_eq!(server.stop(&mut forever()), Ok(()));
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts.handled), 1);
    });
}
