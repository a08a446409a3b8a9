//! Histories of whole buckets, and whether they are linearizable (G2, G3, G5, G15 to G17): threads
//! call a bucket by chance and move the clock of its keys, and a search looks for an order in which
//! one that does one thing at a time would have answered the same. The `planted` tests show that it
//! finds what is wrong.
//!
//! `make test` plays some, `make proof` for as long as one likes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mod common;
use common::scaled;

#[path = "linearizable/calls.rs"]
mod calls;
#[path = "linearizable/clock.rs"]
mod clock;
#[path = "linearizable/held.rs"]
mod held;
#[path = "linearizable/planted.rs"]
mod planted;
#[path = "linearizable/play.rs"]
mod play;
#[path = "linearizable/rounds.rs"]
mod rounds;
#[path = "linearizable/search.rs"]
mod search;
#[path = "linearizable/values.rs"]
mod values;

use rounds::{round, Tally};

const HISTORIES: usize = 40;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn by_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::from(since.expect("the clock is set").subsec_nanos())
}

fn add(all: &mut Tally, tally: &Tally) {
    all.histories += tally.histories;
    all.unknown += tally.unknown;
}

#[test]
fn g2_g3_g5_histories_have_an_order() {
    let mut all = Tally::default();
    for seed in 1..=u64::from(scaled(40)) {
        add(
            &mut all,
            &round(seed, HISTORIES).unwrap_or_else(|fault| panic!("{fault}")),
        );
    }
    assert!(
        all.unknown * 100 <= all.histories,
        "too many are too hard: {all:?}"
    );
}

/// KVREG_PROOF_SECONDS says for how long. Seeds count up from KVREG_PROOF_SEED; with
/// KVREG_PROOF_REPEAT the round of this one seed is repeated, for threads meet by luck too.
#[test]
#[ignore = "as long as one likes: make proof"]
fn proof_by_histories() {
    let seconds = variable("KVREG_PROOF_SECONDS").unwrap_or(10);
    let (begin, span) = (Instant::now(), Duration::from_secs(seconds));
    let mut seed = variable("KVREG_PROOF_SEED").unwrap_or_else(by_the_clock);
    let repeats = variable("KVREG_PROOF_REPEAT").is_some_and(|repeat| repeat > 0);
    let (mut all, mut faults, mut told) = (Tally::default(), 0, begin);
    println!("histories: the first seed is {seed}");
    while begin.elapsed() < span {
        match round(seed, HISTORIES) {
            Ok(tally) => add(&mut all, &tally),
            Err(fault) => {
                faults += 1;
                println!("FAULT: {fault}");
                assert!(faults < 10, "ten faults are enough");
            }
        }
        seed += u64::from(!repeats);
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            println!(
                "histories: {all:?}, seed {seed}, {} s",
                begin.elapsed().as_secs()
            );
        }
    }
    println!("histories: {all:?} in {seconds} s, {faults} faults");
    assert_eq!(faults, 0, "a seed with KVREG_PROOF_REPEAT=1 repeats it");
    assert!(all.histories > 0);
}
