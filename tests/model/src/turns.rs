//! What is tried of servers whose tasks come with the turn: who takes it runs them.

use crate::error::Error;
use crate::openings::{beside, check, check_bounded, facts, until, Counter};
use crate::server::{Lasts, Next};
use crate::subject::{forever, kill, task, Facts, Mail, Subject};

/// One turn, which handles what came before it. `false` if the server has ended.
fn turn(server: &Counter) -> bool {
    let Ok((turn, limit)) = server.occupy_with_mail(&mut forever(), Lasts::Open) else {
        return false;
    };
    let open = turn.open();
    run_below(server, limit.max(1));
    server.state().step_inside();
    drop(open);
    true
}

fn run_below(server: &Counter, limit: u64) {
    loop {
        match server.take_next(limit) {
            Next::Task(mut mail, number) => {
                server.state().step_inside();
                mail.handle();
                drop(mail);
                server.has_run(number);
            }
            Next::Stop | Next::Nothing | Next::Ended => return,
        }
    }
}

fn gone(server: &Counter) -> u32 {
    let facts = facts(server);
    Facts::count(&facts.handled) + Facts::count(&facts.dropped)
}

/// The mail comes before the turn, during it or after it: it is told whenever somebody is needed.
#[test]
fn a_turn_against_mail() {
    check(|| {
        let server = Subject::start_by_turns();
        let thread = beside(&server, |other| task(other).unwrap());
        assert!(turn(&server));
        thread.join().unwrap();
        let facts = facts(&server);
        if Facts::count(&facts.handled) == 0 {
            assert!(
                Facts::count(&facts.told) > 0,
                "mail waits, and nobody knows"
            );
        }
        assert!(turn(&server));
        assert_eq!(Facts::count(&facts.handled), 1);
    });
}

/// Two callers drain what a third thread sends: each message is handled once, by one of them.
#[test]
fn two_turns_against_mail() {
    check_bounded(2, || {
        let server = Subject::start_by_turns();
        task(&server).unwrap();
        let thread = beside(&server, |other| assert!(turn(other)));
        task(&server).unwrap();
        assert!(turn(&server));
        thread.join().unwrap();
        assert!(turn(&server));
        assert_eq!(Facts::count(&facts(&server).handled), 2);
    });
}

/// Whoever is inside, or ends it, is the last: and nobody is inside then.
#[test]
fn a_turn_against_a_kill() {
    check(|| {
        let server = Subject::start_by_turns();
        task(&server).unwrap();
        let thread = beside(&server, kill);
        turn(&server);
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).vacated), 1);
        assert_eq!(gone(&server), 1);
        assert!(!turn(&server));
    });
}

/// A turn is taken from its thread, and given back by another.
#[test]
fn a_detached_turn_against_a_kill() {
    check(|| {
        let server = Subject::start_by_turns();
        let (turn, _) = server.occupy_now(Lasts::Open).unwrap();
        let open = turn.open();
        open.detach();
        let killer = beside(&server, kill);
        let thread = beside(&server, move |other| {
            other.state().step_inside();
            drop(open);
        });
        killer.join().unwrap();
        thread.join().unwrap();
        assert_eq!(Facts::count(&facts(&server).vacated), 1);
    });
}

/// A message that has its place comes, or is dropped, once: a timer's, or a DOWN.
#[test]
fn a_kept_place_against_a_kill() {
    check(|| {
        let server = Subject::start_by_turns();
        server.keep_place().unwrap();
        let mail = Mail::new(&facts(&server));
        let thread = beside(&server, kill);
        server.post_kept(mail);
        thread.join().unwrap();
        assert_eq!(gone(&server), 1);
    });
}

#[test]
fn a_kept_place_against_a_turn() {
    check(|| {
        let server = Subject::start_by_turns();
        server.keep_place().unwrap();
        let mail = Mail::new(&facts(&server));
        let thread = beside(&server, move |other| other.post_kept(mail));
        assert!(turn(&server));
        thread.join().unwrap();
        let facts = facts(&server);
        if Facts::count(&facts.handled) == 0 {
            assert!(
                Facts::count(&facts.told) > 0,
                "a timer came, and nobody knows"
            );
        }
        assert!(turn(&server));
        assert_eq!(Facts::count(&facts.handled), 1);
    });
}

/// What comes before all (the notice of an end in good order) against the end at once.
#[test]
fn what_comes_first_against_a_kill() {
    check(|| {
        let server = Subject::start_by_turns();
        task(&server).unwrap();
        let thread = beside(&server, kill);
        let first = Mail::new(&facts(&server));
        drop(server.post_before_all(first));
        thread.join().unwrap();
        assert_eq!(gone(&server), 2);
    });
}

/// A call that is withdrawn is handled, or taken back: one of the two.
#[test]
fn a_withdrawal_against_a_turn() {
    check(|| {
        let server = Subject::start_by_turns();
        task(&server).unwrap();
        let thread = beside(&server, |other| other.withdraw(|_| true).is_some());
        assert!(turn(&server));
        let withdrawn = thread.join().unwrap();
        let facts = facts(&server);
        assert_eq!(Facts::count(&facts.handled), u32::from(!withdrawn));
        assert_eq!(Facts::count(&facts.dropped), u32::from(withdrawn));
        // Mail that comes later is told.
        let before = Facts::count(&facts.told);
        task(&server).unwrap();
        assert_eq!(Facts::count(&facts.told), before + 1);
        assert!(turn(&server));
        assert_eq!(gone(&server), 2);
    });
}

/// By callbacks: a caller and a drain, of which one runs what waits.
#[test]
fn a_caller_with_the_mail_against_a_drain() {
    check_bounded(2, || {
        let server = Subject::start();
        let thread = beside(&server, |other| task(other).unwrap());
        match server.occupy_with_mail(&mut forever(), Lasts::Call) {
            Ok((turn, limit)) => {
                run_below(&server, limit);
                server.state().step_inside();
                drop(turn);
            }
            Err(error) => panic!("{error:?}"),
        }
        thread.join().unwrap();
        let facts = facts(&server);
        until(|| Facts::count(&facts.handled) == 1);
    });
}

/// Who begins a turn that is not free does not wait.
#[test]
fn a_turn_now_against_a_turn() {
    check(|| {
        let server = Subject::start_by_turns();
        let thread = beside(&server, |other| assert!(turn(other)));
        match server.occupy_now(Lasts::Open) {
            Ok((turn, _)) => {
                server.state().step_inside();
                drop(turn.open());
            }
            Err(Error::Timeout) => {}
            Err(error) => panic!("{error:?}"),
        }
        thread.join().unwrap();
    });
}
