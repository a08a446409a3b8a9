//! Histories that are wrong on purpose: the search has to find that they are.

use super::held::Rules;
use super::search::{
    order_of, Asked, Cast, Found, Handle, History, Step, Taken, Thread, Ttl, ABSENT, FIRST,
};
use super::values::NIL;

/// A step between two moments.
fn step(call: u64, answer: u64, step: Step) -> Taken {
    Taken {
        step,
        by: "planted",
        handle: FIRST,
        call,
        answer,
        clock: (0, 0),
        casts: 0,
    }
}

fn of(threads: Vec<Thread>, restarts: bool) -> Found {
    let rules = Rules::default();
    order_of(&History {
        threads,
        restarts,
        rules,
    })
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
        clock: 0,
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

/// Who ends a bucket at once does not wait for what he has cast; others may read it without until
/// its end.
#[test]
fn a_kill_drops_own_casts() {
    let ends = |casts| {
        let mut own = after_casts(vec![cast(7)], stop(2, 9));
        own.steps.iter_mut().for_each(|taken| taken.casts = casts);
        own
    };
    let gone = |own| {
        vec![
            own,
            calls(vec![
                step(1, 2, Step::Finds(1)),
                step(3, 4, Step::FindsNothing),
            ]),
            calls(vec![step(5, 6, read(0, ABSENT))]),
        ]
    };
    assert_eq!(of(gone(ends(0)), false), Found::Order);
    // Who stops it does: they are done before the name goes.
    assert_eq!(of(gone(ends(1)), false), Found::None);
}

fn entry_of(key: usize, word: u64, revision: u64) -> Step {
    Step::Entry(key, word, revision, -1)
}

fn change(asked: Asked, word: u64, revision: u64) -> Step {
    Step::Change(0, asked, word, Ttl::Default, revision)
}

/// Steps of one thread, one after another.
fn in_turn(steps: Vec<Step>) -> Thread {
    let taken = |(at, one)| step(2 * at as u64, 2 * at as u64 + 1, one);
    calls(steps.into_iter().enumerate().map(taken).collect())
}

fn alone(steps: Vec<Step>) -> Found {
    of(vec![in_turn(steps)], false)
}

#[test]
fn an_entry_of_two_changes_is_found() {
    let entry = |word, revision| {
        let first = change(Asked::Nothing, 7, 1);
        let second = change(Asked::Nothing, 8, 2);
        alone(vec![first, second, entry_of(0, word, revision)])
    };
    assert_eq!(entry(8, 2), Found::Order);
    assert_eq!(entry(8, 1), Found::None);
    assert_eq!(entry(7, 1), Found::None);
    assert_eq!(entry(8, 3), Found::None);
    // Of a write whose revision nobody was told: whoever read it first says it for all.
    let twice = |again| {
        let entry = entry_of(0, NIL, 5);
        alone(vec![write(0, NIL), entry, entry_of(0, NIL, again)])
    };
    assert_eq!(twice(5), Found::Order);
    assert_eq!(twice(6), Found::None);
}

#[test]
fn revisions_that_do_not_rise_are_found() {
    let puts = |first, second| {
        let put = |word, revision| change(Asked::Nothing, word, revision);
        alone(vec![put(7, first), put(8, second)])
    };
    assert_eq!(puts(1, 2), Found::Order);
    assert_eq!(puts(2, 1), Found::None);
    assert_eq!(puts(2, 2), Found::None);
    // Those of a batch are in order, and of others too that nobody but a reader was told.
    let batch = |first, second| {
        let (one, other) = (entry_of(0, 7, first), entry_of(1, 8, second));
        alone(vec![Step::Write(vec![(0, 7), (1, 8)]), one, other])
    };
    assert_eq!(batch(3, 4), Found::Order);
    assert_eq!(batch(4, 3), Found::None);
    let between = |revision| {
        let first = change(Asked::Nothing, 7, 3);
        let last = Step::Change(1, Asked::Nothing, 8, Ttl::Default, 6);
        let read = entry_of(0, NIL, revision);
        alone(vec![first, write(0, NIL), last, read])
    };
    assert_eq!(between(4), Found::Order);
    assert_eq!(between(2), Found::None);
    assert_eq!(between(7), Found::None);
    let last = |revision| {
        let put = change(Asked::Nothing, 7, 3);
        alone(vec![put, Step::Revision(revision)])
    };
    assert_eq!(last(3), Found::Order);
    assert_eq!(last(2), Found::None);
    // It may be that of a write that nobody was told.
    let unknown = |revision| {
        let put = change(Asked::Nothing, 7, 3);
        let read = entry_of(0, NIL, revision);
        alone(vec![put, write(0, NIL), Step::Revision(5), read])
    };
    assert_eq!(unknown(5), Found::Order);
    assert_eq!(unknown(6), Found::None);
}

/// Two that expect the same: one of them comes first.
#[test]
fn two_who_both_win_are_found() {
    let both = |first, second| {
        let begins = calls(vec![step(0, 0, change(Asked::Nothing, 7, 1))]);
        let [first, second] = [first, second].map(|one| calls(vec![step(1, 9, one)]));
        of(vec![begins, first, second], false)
    };
    for asked in [Asked::Revision(1), Asked::Value(7)] {
        let (one, other) = (change(asked, 8, 2), change(asked, 9, 3));
        let loses = Step::Conflict(0, asked);
        assert_eq!(both(one.clone(), other), Found::None);
        assert_eq!(both(one, loses), Found::Order);
    }
}

#[test]
fn a_conflict_without_a_cause_is_found() {
    let put = || change(Asked::Nothing, 7, 1);
    let conflict = |asked| alone(vec![put(), Step::Conflict(0, asked)]);
    assert_eq!(conflict(Asked::Revision(1)), Found::None);
    assert_eq!(conflict(Asked::Value(7)), Found::None);
    for asked in [Asked::Revision(0), Asked::Revision(2), Asked::Value(8)] {
        assert_eq!(conflict(asked), Found::Order);
    }
    let absent = |asked| alone(vec![Step::Conflict(0, asked)]);
    assert_eq!(absent(Asked::Revision(0)), Found::None);
    assert_eq!(absent(Asked::Value(ABSENT)), Found::None);
    assert_eq!(absent(Asked::Revision(1)), Found::Order);
}

#[test]
fn a_key_that_another_revision_takes_out_is_found() {
    let takes = |revision, old| {
        let takes = Step::TakesOut(0, revision, old);
        alone(vec![change(Asked::Nothing, 7, 3), takes])
    };
    assert_eq!(takes(3, Some(7)), Found::Order);
    assert_eq!(takes(3, None), Found::Order);
    assert_eq!(takes(2, None), Found::None);
    assert_eq!(takes(3, Some(8)), Found::None);
    // What was put anew has a revision of its own, if it is the same value too.
    let again = |revision| {
        let old = Step::TakesOut(0, 3, None);
        let put = |revision| change(Asked::Nothing, NIL, revision);
        alone(vec![put(3), old, put(5), Step::TakesOut(0, revision, None)])
    };
    assert_eq!(again(5), Found::Order);
    assert_eq!(again(3), Found::None);
}

/// A bucket that comes after another has larger revisions.
#[test]
fn a_revision_that_comes_back_is_found() {
    let put = |call, handle, revision| {
        let word = 7 + u64::from(handle);
        let mut taken = step(call, call, change(Asked::Revision(0), word, revision));
        taken.handle = handle;
        taken
    };
    let lives = |first, second| {
        let mut steps = vec![put(0, FIRST, first)];
        steps.extend(stop(1, 2));
        steps.extend([step(3, 4, Step::Makes(1)), put(5, 1, second)]);
        of(vec![calls(steps)], false)
    };
    assert_eq!(lives(5, 9), Found::Order);
    assert_eq!(lives(5, 5), Found::None);
    assert_eq!(lives(5, 4), Found::None);
}

/// A history by rules, of calls that know what the clock showed: two moments each, of both clocks.
fn by(rules: Rules, threads: Vec<Thread>) -> Found {
    order_of(&History {
        threads,
        restarts: false,
        rules,
    })
}

/// Steps of one thread, one after another, while the clock shows what it is told.
fn timed(first: u64, steps: Vec<(Step, (u64, u64))>) -> Thread {
    let taken = |(at, (one, clock)): (usize, (Step, (u64, u64)))| {
        let at = first + 2 * at as u64;
        let taken = step(at, at + 1, one);
        Taken { clock, ..taken }
    };
    calls(steps.into_iter().enumerate().map(taken).collect())
}

fn lives(ttl: Ttl, revision: u64) -> Step {
    Step::Change(0, Asked::Nothing, 7, ttl, revision)
}

const TEN: Ttl = Ttl::Millis(10);

/// At 100 something is done, and at a later time something else.
fn at_both(rules: Rules, before: Vec<Step>, then: u64, after: Vec<Step>) -> Found {
    let mut steps: Vec<_> = before.into_iter().map(|one| (one, (100, 100))).collect();
    steps.push((Step::Advance(100, then), (100, then)));
    steps.extend(after.into_iter().map(|one| (one, (then, then))));
    by(rules, vec![timed(0, steps)])
}

#[test]
fn a_key_that_is_seen_after_its_time_is_found() {
    let seen = |then, word| {
        let put = vec![lives(TEN, 1)];
        at_both(Rules::default(), put, then, vec![read(0, word)])
    };
    assert_eq!(seen(109, 7), Found::Order);
    assert_eq!(seen(109, ABSENT), Found::None);
    assert_eq!(seen(110, 7), Found::None);
    assert_eq!(seen(110, ABSENT), Found::Order);
    // Who was called before may have looked at the clock before: but not before it was called.
    let beside = |clock, word| {
        let mut reads = timed(0, vec![(read(0, word), clock)]);
        reads.steps[0].answer = 9;
        let put = (lives(TEN, 1), (100, 100));
        let advance = (Step::Advance(100, 110), (100, 110));
        by(Rules::default(), vec![timed(0, vec![put, advance]), reads])
    };
    assert_eq!(beside((100, 110), 7), Found::Order);
    assert_eq!(beside((100, 110), ABSENT), Found::Order);
    assert_eq!(beside((110, 110), 7), Found::None);
    assert_eq!(beside((110, 110), ABSENT), Found::Order);
}

#[test]
fn a_condition_on_a_key_after_its_time_is_found() {
    let then = |then, asked, revision| {
        let put = change(asked, 8, revision);
        at_both(Rules::default(), vec![lives(TEN, 1)], then, vec![put])
    };
    assert_eq!(then(109, Asked::Revision(1), 2), Found::Order);
    assert_eq!(then(110, Asked::Revision(1), 2), Found::None);
    assert_eq!(then(110, Asked::Revision(0), 2), Found::Order);
    assert_eq!(then(109, Asked::Revision(0), 2), Found::None);
    assert_eq!(then(110, Asked::Value(7), 2), Found::None);
    assert_eq!(then(110, Asked::Revision(0), 1), Found::None);
    let refused = |at, asked| {
        let conflict = vec![Step::Conflict(0, asked)];
        at_both(Rules::default(), vec![lives(TEN, 1)], at, conflict)
    };
    assert_eq!(refused(109, Asked::Revision(1)), Found::None);
    assert_eq!(refused(110, Asked::Revision(1)), Found::Order);
    assert_eq!(refused(110, Asked::Revision(0)), Found::None);
}

#[test]
fn a_time_to_live_that_is_another_is_found() {
    let rules = Rules {
        default_ttl: 20,
        places: 0,
    };
    let entry = |change: &Step, left| match change {
        Step::Expire(..) => Step::Entry(0, 7, 2, left),
        _ => Step::Entry(0, 8, 2, left),
    };
    let again = |ttl| Step::Change(0, Asked::Nothing, 8, ttl, 2);
    let left = |change: Step, left| {
        let entry = entry(&change, left);
        at_both(rules, vec![lives(TEN, 1)], 104, vec![change, entry])
    };
    for (change, right) in [
        (Step::Expire(0, Ttl::Millis(3), 2), 3),
        (Step::Expire(0, Ttl::Never, 2), -1),
        (again(Ttl::Keep), 6),
        (again(Ttl::Default), 20),
        (again(Ttl::Never), -1),
        (again(TEN), 10),
    ] {
        assert_eq!(left(change.clone(), right), Found::Order, "{change:?}");
        assert_eq!(left(change.clone(), right + 1), Found::None, "{change:?}");
    }
    // What is over is not kept, and finds nothing to change.
    let over = |change: Step, left| {
        let entry = entry(&change, left);
        at_both(rules, vec![lives(TEN, 1)], 110, vec![change, entry])
    };
    assert_eq!(over(again(Ttl::Keep), 20), Found::Order);
    assert_eq!(over(Step::Expire(0, TEN, 2), 10), Found::None);
}

/// Of three keys two find a place.
#[test]
fn a_key_that_comes_back_after_it_made_room_is_found() {
    let rules = Rules {
        default_ttl: 0,
        places: 2,
    };
    let put = |key, word| Step::Change(key, Asked::Nothing, word, Ttl::Default, word);
    let after = |more: Vec<Step>| {
        let mut steps = vec![put(0, 7), put(1, 8), put(2, 9)];
        steps.extend(more);
        by(rules, vec![in_turn(steps)])
    };
    let all = |a, b, c| Step::Read(vec![(0, a), (1, b), (2, c)]);
    assert_eq!(after(vec![all(7, ABSENT, 9)]), Found::Order);
    assert_eq!(after(vec![all(ABSENT, 8, 9)]), Found::Order);
    assert_eq!(after(vec![all(7, 8, 9)]), Found::None, "more than fit");
    assert_eq!(after(vec![all(7, 8, ABSENT)]), Found::None, "the new one");
    assert_eq!(after(vec![all(ABSENT, ABSENT, 9)]), Found::None, "too many");
    let back = |word| after(vec![read(0, ABSENT), read(0, word)]);
    assert_eq!(back(ABSENT), Found::Order);
    assert_eq!(back(7), Found::None);
    let older = after(vec![read(0, ABSENT), put(0, 10), read(0, 7)]);
    assert_eq!(older, Found::None);
    // Where there is room nothing goes.
    let two = |word| {
        by(
            rules,
            vec![in_turn(vec![put(0, 7), put(1, 8), read(0, word)])],
        )
    };
    assert_eq!(two(7), Found::Order);
    assert_eq!(two(ABSENT), Found::None);
    let counted = |count| after(vec![Step::Evicted(count)]);
    assert_eq!(counted(1), Found::Order);
    assert_eq!(counted(0), Found::None);
    assert_eq!(counted(2), Found::None);
}
