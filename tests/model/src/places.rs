//! The place of a turn: who works with it against who ends it, and who puts the next one there.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Arc;

use loom::thread::spawn;

use crate::openings::check;
use crate::server::{TurnPlace, Worked};

type Place = TurnPlace<u32>;

const FIRST: u64 = 2;
const SECOND: u64 = 4;

/// Who has the turn gives it back, and the next one is put.
fn follow(place: &Place, turn: u32) {
    assert!(turn <= 2);
    // SAFETY: one of the two comes here, whose the first turn is, and with another ticket.
    unsafe { place.put(SECOND, || 10) };
}

/// Twice, by the ticket of the first turn. The answer is how often it was left to this thread.
fn work(place: &Place) -> u32 {
    let mut left = 0;
    for _ in 0..2 {
        match place.with(FIRST, |turn| *turn += 1, || {}) {
            Worked::Done(()) | Worked::Nothing => {}
            Worked::Left((), turn) => {
                left += 1;
                follow(place, turn);
            }
        }
    }
    left
}

#[test]
fn a_turn_in_its_place_is_ended_once() {
    check(|| {
        let place = Arc::new(Place::new());
        // SAFETY: nothing is there.
        unsafe { place.put(FIRST, || 0) };
        let other = Arc::clone(&place);
        let worker = spawn(move || work(&other));
        // SAFETY: once.
        let taken = unsafe { place.take(FIRST, Option::take) };
        if let Some(turn) = taken {
            follow(&place, turn);
        }
        let left = worker.join().unwrap();
        assert_eq!(left + u32::from(taken.is_some()), 1);
        // SAFETY: once.
        let second = unsafe { place.take(SECOND, Option::take) };
        assert_eq!(
            second,
            Some(10),
            "who came with the old ticket left it alone"
        );
    });
}

/// A stranger, who may come with a message of an earlier turn, spoils nothing.
#[test]
fn who_looks_briefly_is_waited_for() {
    check(|| {
        let place = Arc::new(Place::new());
        // SAFETY: nothing is there.
        unsafe { place.put(FIRST, || 0) };
        let other = Arc::clone(&place);
        let stranger = spawn(move || other.briefly(|turn| *turn));
        let worked = place.with(FIRST, |turn| *turn += 1, || {});
        assert!(matches!(worked, Worked::Done(())));
        // SAFETY: once.
        assert_eq!(unsafe { place.take(FIRST, Option::take) }, Some(1));
        // SAFETY: the turn was this thread's.
        unsafe { place.put(SECOND, || 10) };
        let seen = stranger.join().unwrap();
        assert!(matches!(seen, None | Some(0 | 1 | 10)));
        // SAFETY: once.
        assert_eq!(unsafe { place.take(SECOND, Option::take) }, Some(10));
    });
}

#[test]
fn a_turn_whose_work_panics_is_given_up_once() {
    check(|| {
        let place = Arc::new(TurnPlace::new());
        let counted = Arc::new(());
        // SAFETY: nothing is there.
        unsafe { place.put(FIRST, || Arc::clone(&counted)) };
        let other = Arc::clone(&place);
        let worker = spawn(move || {
            // Without a word: the hook would print it each time.
            let work = |_: &mut Arc<()>| resume_unwind(Box::new("it does"));
            let panics = || other.with(FIRST, work, || {});
            let _ = catch_unwind(AssertUnwindSafe(panics));
        });
        // SAFETY: once.
        drop(unsafe { place.take(FIRST, Option::take) });
        worker.join().unwrap();
        assert_eq!(Arc::strong_count(&counted), 1);
        assert!(place.briefly(|_| ()).is_none());
    });
}
