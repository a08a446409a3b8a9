//! What is tried. The checker runs each scenario in every order of its steps (up to three
//! preemptions); it fails if an assertion does, if two threads are in the state at once, or
//! if all threads wait.

use std::sync::Arc;

use loom::thread::spawn;

use crate::error::Error;
use crate::server::{abort_open, hold, AnyServer, Caller, Held, Lasts, Open};
use crate::server::{OpenTurn, Server, Turn};
use crate::subject::{call, cast, forever, kill, peek, system, task, Facts, Inbox, Subject};
use crate::time::Timeout;

pub(crate) type Counter = Arc<Server<Subject>>;

pub(crate) fn check(scenario: impl Fn() + Sync + Send + 'static) {
    check_bounded(3, scenario);
}

/// So many preemptions, and as many more as KVREG_MODEL_DEEPER says: for `make proof`, which sets
/// LOOM_MAX_DURATION too, as one more takes ten times as long.
pub(crate) fn deeper(preemptions: usize) -> usize {
    let more = std::env::var("KVREG_MODEL_DEEPER").ok();
    let more = more.map_or(0, |text| {
        text.parse().expect("KVREG_MODEL_DEEPER is a number")
    });
    preemptions + more
}

/// For scenarios of many steps, which would take minutes.
pub(crate) fn check_bounded(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(deeper(preemptions));
    model.max_branches = 20_000;
    model.check(scenario);
}

pub(crate) fn facts(server: &Counter) -> Arc<Facts> {
    Arc::clone(&server.state().facts)
}

/// One that was refused did nothing, one that was answered did it once.
pub(crate) fn answered(answer: &Result<u32, Error>) -> u32 {
    match answer {
        Ok(_) => 1,
        Err(Error::NoProcess | Error::ServerDown) => 0,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn call_against_call() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other).unwrap());
        let mut seen = [call(&server).unwrap(), thread.join().unwrap()];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn call_against_call_against_call() {
    check(|| {
        let server = Subject::start();
        let threads = [(); 2].map(|()| {
            let other = Arc::clone(&server);
            spawn(move || call(&other).unwrap())
        });
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            cast(&other).unwrap();
            assert!(call(&other).unwrap() >= 2);
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
        let other = Arc::clone(&server);
        let thread = spawn(move || drop(call(&other)));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            task(&other).unwrap();
            assert!(call(&other).unwrap() >= 2);
        });
        call(&server).unwrap();
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).tasks_run), 1);
    });
}

/// Waits for what no caller waits for; the checker gives up if it never happens.
pub(crate) fn until(happened: impl Fn() -> bool) {
    while !happened() {
        loom::thread::yield_now();
    }
}

impl Open for Held<OpenTurn<Subject>> {
    fn is_open(&self, _ticket: u64) -> bool {
        self.with(|_| ()).is_some()
    }

    fn abort(&self, _ticket: u64) {
        drop(self.give_up());
    }
}

#[test]
fn a_turn_left_open_is_ended_once_and_comes_back() {
    check(|| {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Open).unwrap();
        let held = Arc::new(Held::new(turn.open()));
        hold(Arc::clone(&held), 0).unwrap();
        let other = Arc::clone(&server);
        let ender = spawn(move || match held.take(&held) {
            Some(turn) => turn
                .inside()
                .commit(|write| write.state().add(write))
                .is_ok(),
            None => false,
        });
        let caller = spawn(move || call(&other).unwrap());
        abort_open(); // this thread ends
        let is_ended = ender.join().unwrap();
        caller.join().unwrap();
        assert_eq!(peek(&server), Ok(1 + u32::from(is_ended)));
    });
}

#[test]
fn a_drain_gives_way_to_who_came_before_a_task() {
    check(|| {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other).unwrap());
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
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            cast(&other).unwrap();
            assert!(peek(&other).unwrap() >= 1);
        });
        task(&server).unwrap(); // before or after the cast
        drop(turn);
        thread.join().unwrap();
        let facts = facts(&server);
        until(|| Facts::count(&facts.handled) == 2);
    });
}

#[test]
fn call_against_stop() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            let sent = cast(&other).is_ok();
            answered(&call(&other));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            let _ = task(&other);
            answered(&call(&other));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || kill(&other));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || other.stop(&mut forever()));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || kill(&other));
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
        let (a, b) = (Arc::clone(&one), Arc::clone(&two));
        let thread = spawn(move || b.link(&a.as_any()));
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
        let other = Arc::clone(&two);
        let thread = spawn(move || kill(&other));
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
        let (a, b) = (Arc::clone(&one), Arc::clone(&two));
        let thread = spawn(move || {
            b.link(&a.as_any()).unwrap();
            b.unlink(&a.as_any());
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
        let other = Arc::clone(&server);
        let thread = spawn(move || other.stop(&mut forever()).unwrap());
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
        let other = Arc::clone(&server);
        let thread = spawn(move || kill(&other));
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            kill(&other);
            assert_eq!(call(&other), Err(Error::NoProcess), "whoever was faster");
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
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            let turn = other.occupy(&mut forever(), Lasts::Call)?;
            other.state().step_inside();
            turn.inside().commit(|write| write.state().add(write))
        });
        let killer = Arc::clone(&server);
        let killer = spawn(move || kill(&killer));
        answered(&call(&server));
        answered(&thread.join().unwrap());
        killer.join().unwrap();
    });
}

#[test]
fn a_kill_answers_those_who_wait_for_an_update() {
    check(|| {
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let waiting = spawn(move || answered(&call(&other)));
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
fn an_update_has_the_turn_to_itself() {
    check(|| {
        let server = Subject::start();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
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
        let server = Subject::start();
        let other = Arc::clone(&server);
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        // Joined while the turn is held: it must get through.
        let seen = spawn(move || peek(&other)).join().unwrap();
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
        let other = Arc::clone(&server);
        let thread = spawn(move || peek(&other).unwrap());
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
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let other = Arc::clone(&server);
        let thread = spawn(move || {
            cast(&other).unwrap();
            let done = Flag::new();
            let (third, is_done) = (Arc::clone(&other), Arc::clone(&done));
            let update = spawn(move || {
                let turn = third.occupy(&mut forever(), Lasts::Call).unwrap();
                is_done.wait();
                drop(turn);
            });
            assert_eq!(peek(&other), Ok(1));
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
        let server = Subject::start();
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
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
        let other = Arc::clone(&server);
        let thread = spawn(move || call(&other).unwrap());
        let mut at_once = Caller::new(Timeout::Now);
        let answer = server.call(&mut at_once, |write| write.state().add(write));
        assert!(matches!(answer, Ok(_) | Err(Error::Timeout)));
        thread.join().unwrap();
        let all = 1 + u32::from(answer.is_ok());
        assert_eq!(peek(&server), Ok(all), "a call that timed out did nothing");
    });
}

#[test]
fn stop_comes_after_what_is_queued() {
    check(|| {
        let server = Subject::start();
        let facts = facts(&server);
        let other = Arc::clone(&server);
        let thread = spawn(move || drop(call(&other)));
        cast(&server).unwrap();
        assert_eq!(server.stop(&mut forever()), Ok(()));
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts.handled), 1);
    });
}
