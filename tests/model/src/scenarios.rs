//! What is tried. The checker runs each scenario in every order of its steps (up to three
//! preemptions); it fails if an assertion does, if two threads are in the state at once, or
//! if all threads wait.

use std::sync::Arc;

use loom::thread::spawn;

use crate::error::Error;
use crate::openings::{beside, check, check_bounded, facts, occupied, until};
use crate::server::{abort_open, hold, Caller, Held, Lasts, Open, OpenTurn};
use crate::subject::{call, cast, forever, peek, system, task, Facts, Subject};
use crate::time::Timeout;

#[test]
fn call_against_call() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| call(other).unwrap());
        let mut seen = [call(&server).unwrap(), thread.join().unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn call_against_call_against_call() {
    check(|| {
        let server = Subject::start();
        let threads = [(); 2].map(|()| beside(&server, |other| call(other).unwrap()));
        call(&server).unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(call(&server), Ok(4));
    });
}

#[test]
fn a_call_sees_the_casts_of_its_thread() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            cast(other).unwrap();
            assert!(call(other).unwrap() >= 2);
        });
        cast(&server).unwrap();
        assert!(peek(&server).unwrap() >= 1, "a read sees them too");
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).handled), 2);
    });
}

#[test]
fn casts_are_handled_without_a_caller() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let thread = beside(&server, |other| drop(call(other)));
        cast(&server).unwrap();
        task(&server).unwrap();
        thread.join().unwrap();
        // Every handle is gone: what is queued is handled all the same, by drains that hold
        // the server.
        drop(server);
        until(|| Facts::count(&facts.handled) == 2);
    });
}

#[test]
fn a_task_comes_before_a_later_call() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            task(other).unwrap();
            assert!(call(other).unwrap() >= 2);
        });
        call(&server).unwrap();
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).tasks_run), 1);
    });
}

impl Open for Held<OpenTurn<Subject>> {
    fn is_open(&self) -> bool {
        self.is_there()
    }

    fn abort(&self) {
        drop(self.give_up());
    }
}

#[test]
fn a_turn_left_open_is_ended_once_and_comes_back() {
    check(|| {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Open).unwrap();
        let held = Arc::new(Held::new(turn.open()));
        hold(Arc::clone(&held)).unwrap();
        let ender = spawn(move || match held.take(&held) {
            Some(turn) => turn
                .inside()
                .commit(|write| write.state().add(write))
                .is_ok(),
            None => false,
        });
        let caller = beside(&server, |other| call(other).unwrap());
        abort_open(); // this thread ends
        let is_ended = ender.join().unwrap();
        caller.join().unwrap();
        assert_eq!(peek(&server), Ok(1 + u32::from(is_ended)));
    });
}

#[test]
fn a_drain_gives_way_to_who_came_before_a_task() {
    check(|| {
        let (server, turn) = occupied();
        let thread = beside(&server, |other| call(other).unwrap());
        task(&server).unwrap(); // before or after the call
        drop(turn);
        thread.join().unwrap();
        let facts = facts(&server);
        until(|| Facts::count(&facts.handled) == 1);
        assert_eq!(Facts::count(&facts.tasks_run), 1);
    });
}

#[test]
fn a_read_waits_for_its_own_cast_and_the_rest_goes_on() {
    check_bounded(2, || {
        let (server, turn) = occupied();
        let thread = beside(&server, |other| {
            cast(other).unwrap();
            assert!(peek(other).unwrap() >= 1);
        });
        task(&server).unwrap(); // before or after the cast
        drop(turn);
        thread.join().unwrap();
        let facts = facts(&server);
        until(|| Facts::count(&facts.handled) == 2);
    });
}

#[test]
fn an_update_has_the_turn_to_itself() {
    check_bounded(2, || {
        let server = Subject::start();
        let thread = beside(&server, |other| {
            let turn = other.occupy(&mut forever(), Lasts::Call).unwrap();
            other.state().step_inside();
            turn.inside()
                .commit(|write| write.state().add(write))
                .unwrap();
            other.state().step_inside();
        });
        cast(&server).unwrap();
        task(&server).unwrap();
        assert!(call(&server).unwrap() >= 3);
        thread.join().unwrap();
    });
}

#[test]
fn an_update_keeps_no_snapshot_waiting() {
    check(|| {
        let (server, turn) = occupied();
        // Joined while the turn is held: it must get through.
        let seen = beside(&server, peek).join().unwrap();
        assert_eq!(seen, Ok(0));
        turn.inside()
            .commit(|write| write.state().add(write))
            .unwrap();
        drop(turn);
        assert_eq!(peek(&server), Ok(1));
    });
}

#[test]
fn snapshots_against_calls() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| peek(other).unwrap());
        call(&server).unwrap();
        assert!(thread.join().unwrap() <= 1);
        assert_eq!(peek(&server), Ok(1));
    });
}

/// Flags outside the server, to wait for in user code.
struct Flag(loom::sync::Mutex<bool>, loom::sync::Condvar);

impl Flag {
    fn new() -> Arc<Flag> {
        Arc::new(Flag(loom::sync::Mutex::new(false), Default::default()))
    }

    fn set(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        let mut set = self.0.lock().unwrap();
        while !*set {
            set = self.1.wait(set).unwrap();
        }
    }
}

/// A thread reads behind its own cast, while another one, that comes after the cast, stays
/// inside until the read is done.
#[test]
fn a_read_waits_for_its_casts_and_no_longer() {
    check_bounded(2, || {
        let (server, turn) = occupied();
        let thread = beside(&server, |other| {
            cast(other).unwrap();
            let done = Flag::new();
            let (third, is_done) = (Arc::clone(other), Arc::clone(&done));
            let update = spawn(move || {
                let turn = third.occupy(&mut forever(), Lasts::Call).unwrap();
                is_done.wait();
                drop(turn);
            });
            assert_eq!(peek(other), Ok(1));
            done.set();
            update.join().unwrap();
        });
        drop(turn);
        thread.join().unwrap();
    });
}

#[test]
fn who_has_what_it_waited_for_is_in_no_circle() {
    check_bounded(2, || {
        let system = system();
        let one = Subject::start_in(system);
        let two = Subject::start_in(system);
        let turn = one.occupy(&mut forever(), Lasts::Call).unwrap();
        let (first, second) = (Arc::clone(&one), Arc::clone(&two));
        let thread = spawn(move || {
            let mine = second.occupy(&mut forever(), Lasts::Call).unwrap();
            cast(&first).unwrap();
            let (third, fourth) = (Arc::clone(&first), Arc::clone(&second));
            let update = spawn(move || {
                // After the cast: when it is inside, the read below has what it waits for.
                let _turn = third.occupy(&mut forever(), Lasts::Call).unwrap();
                call(&fourth)
            });
            let seen = peek(&first);
            drop(mine);
            assert_eq!(seen, Ok(1));
            assert_eq!(update.join().unwrap(), Ok(1));
        });
        drop(turn);
        thread.join().unwrap();
    });
}

#[test]
fn a_server_that_calls_itself_is_told() {
    check(|| {
        let (server, turn) = occupied();
        assert_eq!(call(&server), Err(Error::CallingSelf));
        assert_eq!(server.stop(&mut forever()), Err(Error::CallingSelf));
        assert_eq!(peek(&server), Ok(0));
        drop(turn);
        assert_eq!(call(&server), Ok(1));
    });
}

#[test]
fn a_circle_of_two_is_told() {
    check(|| {
        let system = system();
        let one = Subject::start_in(system);
        let two = Subject::start_in(system);
        let (first, second) = (Arc::clone(&one), Arc::clone(&two));
        let thread = spawn(move || {
            let _turn = first.occupy(&mut forever(), Lasts::Call).unwrap();
            call(&second)
        });
        let mine = {
            let _turn = two.occupy(&mut forever(), Lasts::Call).unwrap();
            call(&one)
        };
        let theirs = thread.join().unwrap();
        for answer in [&mine, &theirs] {
            assert!(matches!(answer, Ok(_) | Err(Error::CallingSelf)));
        }
        assert!(
            mine.is_ok() || theirs.is_ok(),
            "one is told, the other goes on"
        );
    });
}

#[test]
fn who_does_not_wait_is_told_at_once() {
    check(|| {
        let server = Subject::start();
        let thread = beside(&server, |other| call(other).unwrap());
        let mut at_once = Caller::new(Timeout::Now);
        let answer = server.call(&mut at_once, |write| write.state().add(write));
        assert!(matches!(answer, Ok(_) | Err(Error::Timeout)));
        thread.join().unwrap();
        let all = 1 + u32::from(answer.is_ok());
        assert_eq!(peek(&server), Ok(all), "a call that timed out did nothing");
    });
}
