//! Histories that are wrong on purpose: the search has to find that they are.

use super::search::{order_of, Cast, Found, Handle, History, Step, Taken, Thread, ABSENT, FIRST};

/// A step between two moments.
fn step(call: u64, answer: u64, step: Step) -> Taken {
    Taken {
        step,
        by: "planted",
        handle: FIRST,
        call,
        answer,
        casts: 0,
    }
}

fn of(threads: Vec<Thread>, restarts: bool) -> Found {
    order_of(&History { threads, restarts })
}

fn calls(steps: Vec<Taken>) -> Thread {
    Thread {
        steps,
        casts: Vec::new(),
    }
}

fn write(key: usize, word: u64) -> Step {
    Step::Write(vec![(key, word)])
}

fn read(key: usize, word: u64) -> Step {
    Step::Read(vec![(key, word)])
}

#[test]
fn a_stale_read_is_found() {
    let put = calls(vec![step(1, 2, write(0, 7))]);
    let read_at = |call, word| calls(vec![step(call, call + 1, read(0, word))]);
    assert_eq!(
        of(vec![put.clone(), read_at(3, ABSENT)], false),
        Found::None
    );
    assert_eq!(of(vec![put.clone(), read_at(3, 7)], false), Found::Order);
    // At the same time, both are right.
    assert_eq!(
        of(vec![put.clone(), read_at(2, ABSENT)], false),
        Found::Order
    );
    assert_eq!(of(vec![put, read_at(2, 7)], false), Found::Order);
}

#[test]
fn reads_that_go_back_are_found() {
    let puts = calls(vec![step(1, 9, write(0, 7))]);
    let reads = calls(vec![step(2, 3, read(0, 7)), step(4, 5, read(0, ABSENT))]);
    assert_eq!(of(vec![puts, reads], false), Found::None);
}

/// Without a clock, only the order within each thread counts: a write that was still in a store
/// buffer would be found by it.
#[test]
fn two_reads_before_two_writes_are_found() {
    let thread = |mine, other| {
        calls(vec![
            step(0, 9, write(mine, 7)),
            step(0, 9, read(other, ABSENT)),
        ])
    };
    assert_eq!(of(vec![thread(0, 1), thread(1, 0)], false), Found::None);
}

#[test]
fn a_torn_batch_is_found() {
    let batch = calls(vec![step(1, 9, Step::Write(vec![(0, 7), (1, 7)]))]);
    let seen = |first, second| calls(vec![step(2, 3, Step::Read(vec![(0, first), (1, second)]))]);
    assert_eq!(of(vec![batch.clone(), seen(7, ABSENT)], false), Found::None);
    assert_eq!(of(vec![batch.clone(), seen(7, 7)], false), Found::Order);
    assert_eq!(of(vec![batch, seen(ABSENT, ABSENT)], false), Found::Order);
}

#[test]
fn a_lost_update_is_found() {
    let add = |from, to| calls(vec![step(1, 9, Step::Exchange(0, from, to))]);
    assert_eq!(of(vec![add(ABSENT, 1), add(ABSENT, 2)], false), Found::None);
    assert_eq!(of(vec![add(ABSENT, 1), add(1, 2)], false), Found::Order);
}

fn cast(word: u64) -> Cast {
    Cast {
        handle: FIRST,
        key: 0,
        word,
        call: 1,
        steps: 0,
    }
}

fn after_casts(casts: Vec<Cast>, mut steps: Vec<Taken>) -> Thread {
    for taken in &mut steps {
        taken.casts = casts.len();
    }
    Thread { steps, casts }
}

#[test]
fn a_cast_that_its_thread_does_not_see_is_found() {
    let own = |word| after_casts(vec![cast(7)], vec![step(2, 3, read(0, word))]);
    assert_eq!(of(vec![own(ABSENT)], false), Found::None);
    assert_eq!(of(vec![own(7)], false), Found::Order);
    // Others may see it late.
    let sent = Thread {
        steps: Vec::new(),
        casts: vec![cast(7)],
    };
    let other = calls(vec![step(5, 6, read(0, ABSENT)), step(7, 8, read(0, 7))]);
    assert_eq!(of(vec![sent, other], false), Found::Order);
}

#[test]
fn casts_in_another_order_are_found() {
    let own = |word| after_casts(vec![cast(7), cast(8)], vec![step(2, 3, read(0, word))]);
    assert_eq!(of(vec![own(7)], false), Found::None);
    assert_eq!(of(vec![own(8)], false), Found::Order);
}

/// The steps of a stop that was answered OK.
fn stop(call: u64, answer: u64) -> Vec<Taken> {
    let steps = [Step::Lives, Step::NameGoes, Step::Ends];
    steps.map(|one| step(call, answer, one)).into()
}

#[test]
fn an_answer_after_the_end_is_found() {
    let after = |one| calls(vec![step(3, 4, one)]);
    let stopped = || calls(stop(1, 2));
    assert_eq!(
        of(vec![stopped(), after(read(0, ABSENT))], false),
        Found::None
    );
    assert_eq!(of(vec![stopped(), after(Step::Gone)], false), Found::Order);
    // Once anybody was told that it is gone, nobody is answered OK.
    let told = calls(vec![step(2, 3, Step::Gone), step(4, 5, write(0, 7))]);
    assert_eq!(of(vec![calls(stop(1, 9)), told], false), Found::None);
    // A dropped cast is no excuse for a read without it.
    let own = after_casts(vec![cast(7)], vec![step(2, 3, read(0, ABSENT))]);
    assert_eq!(of(vec![calls(stop(1, 9)), own], false), Found::None);
}

#[test]
fn a_name_that_stays_is_found() {
    const FOUND: Handle = 1;
    let after = |one| calls(vec![step(3, 4, one)]);
    let stopped = || calls(stop(1, 2));
    assert_eq!(
        of(vec![stopped(), after(Step::Finds(FOUND))], false),
        Found::None
    );
    assert_eq!(
        of(vec![stopped(), after(Step::FindsNothing)], false),
        Found::Order
    );
    // A restarted one has the name, and is empty.
    let mut reads = vec![step(3, 4, Step::Finds(FOUND)), step(5, 6, read(0, 7))];
    reads[1].handle = FOUND;
    let mut before = vec![step(0, 0, write(0, 7))];
    before.extend(stop(1, 2));
    assert_eq!(
        of(vec![calls(before.clone()), calls(reads.clone())], true),
        Found::None
    );
    reads[1].step = read(0, ABSENT);
    assert_eq!(of(vec![calls(before), calls(reads)], true), Found::Order);
}

/// While one removes it: the name goes before mail is refused, never after.
#[test]
fn a_name_that_goes_last_is_found() {
    let removes = [Step::Removes, Step::RemovedEnds].map(|one| step(1, 9, one));
    let other = |first, second| calls(vec![step(2, 3, first), step(4, 5, second)]);
    let put_late = other(Step::FindsNothing, write(0, 7));
    assert_eq!(
        of(vec![calls(removes.to_vec()), put_late], false),
        Found::Order
    );
    let found_late = other(Step::Gone, Step::Finds(1));
    assert_eq!(
        of(vec![calls(removes.to_vec()), found_late], false),
        Found::None
    );
}

/// Casts come before the calls to their own bucket. A lookup asks the registry.
#[test]
fn a_lookup_does_not_wait_for_casts() {
    let mut own = after_casts(vec![cast(7)], vec![step(2, 3, Step::Finds(1))]);
    let other = calls(vec![step(4, 5, read(0, ABSENT))]);
    assert_eq!(of(vec![own.clone(), other.clone()], false), Found::Order);
    own.steps[0].step = Step::Lives;
    assert_eq!(of(vec![own, other], false), Found::None);
}
