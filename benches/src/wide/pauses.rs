//! The longest call, in milliseconds: while a bucket grows, beside a snapshot, beside what takes
//! all keys away.

use std::time::Duration;

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::clock::{beside, best_of, medians, Longest, ROUNDS};
use super::rows::Rows;
use crate::keys::Keys;
use crate::kvreg::Bucket;

const GROWN: usize = 10_000_000;
const STEP: usize = 100_000;
const KEYS: usize = 5_000_000;

/// So many keys, made in steps, so that they need little memory.
fn steps(count: usize) -> impl Iterator<Item = (usize, Keys)> {
    let keys = |from| (from, Keys::numbered(from..from + STEP));
    (0..count).step_by(STEP).map(keys)
}

/// What was overwritten and ended has a moment to be freed, so that it is not part of what follows.
fn let_it_rest() {
    std::thread::sleep(Duration::from_secs(2));
}

/// The longest of all puts so far, in ms; `told` hears of it when the number of keys is a power of
/// ten, or is all.
fn grow(mut put: impl FnMut(&[u8]), mut told: impl FnMut(usize, f64)) -> f64 {
    let (mut longest, mut count, mut power) = (Longest::default(), 0, 1000);
    for (_, keys) in steps(GROWN) {
        for key in keys.iter() {
            longest.call(|| put(key));
            count += 1;
            if count == power {
                told(count, longest.ms());
                power *= 10;
            }
        }
    }
    longest.ms()
}

fn growth(rows: &mut Rows) {
    let least = |figures: Vec<f64>| figures.into_iter().fold(f64::MAX, f64::min);
    let (mut kvreg, mut papaya) = (Vec::new(), Vec::new());
    let figures = best_of(
        [
            &mut || {
                let_it_rest();
                let bucket = Bucket::patient();
                grow(
                    |key| bucket.put_int(key, 1),
                    |count, ms| kvreg.push((count, ms)),
                )
            },
            &mut || {
                let_it_rest();
                let map = papaya::HashMap::<Box<[u8]>, i64, RandomState>::default();
                let put = |key: &[u8]| _ = map.pin().insert(key.into(), 1);
                grow(put, |count, ms| papaya.push((count, ms)))
            },
        ],
        least,
    );
    for (name, points) in [("kvreg", kvreg), ("papaya", papaya)] {
        let counts: std::collections::BTreeSet<usize> =
            points.iter().map(|(count, _)| *count).collect();
        for count in counts {
            let of_count = points.iter().filter(|point| point.0 == count);
            let best = least(of_count.map(|point| point.1).collect());
            rows.point("growth", name, count, best);
        }
    }
    let name = "longest put while a bucket grows to 10^7 keys, best round, ms / papaya";
    rows.at_most(name, figures[0], Some(figures[1]), 3.0);
}

fn fill(bucket: &Bucket) {
    for (_, keys) in steps(KEYS) {
        keys.iter().for_each(|key| bucket.put_int(key, 1));
    }
}

fn snapshots(rows: &mut Rows) {
    let bucket = Bucket::patient();
    fill(&bucket);
    let dash = DashMap::<Box<[u8]>, i64, RandomState>::default();
    for (_, keys) in steps(KEYS) {
        for key in keys.iter() {
            dash.insert(key.into(), 1);
        }
    }
    let copy_all = || {
        let pair = |entry: dashmap::mapref::multiple::RefMulti<'_, Box<[u8]>, i64>| {
            (entry.key().clone(), *entry.value())
        };
        drop(dash.iter().map(pair).collect::<Vec<_>>());
    };
    let figures = medians([
        &mut || beside(|key| bucket.put_int(key, 2), || bucket.snapshot()).1,
        &mut || {
            let put = |key: &[u8]| *dash.get_mut(key).expect("it was put") = 2;
            beside(put, copy_all).1
        },
    ]);
    let name = "longest put beside items() of 5 M keys, ms / DashMap, iterated";
    rows.at_most(name, figures[0], Some(figures[1]), 5.0);
}

/// Of a call that takes 5 M keys away: how long it takes, and the longest call that another thread
/// makes into another bucket meanwhile or right after. The worst round counts.
fn release(rows: &mut Rows, what: &str, call: impl Fn(&Bucket)) {
    let elsewhere = Bucket::patient();
    let (mut own, mut others) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        let bucket = Bucket::patient();
        fill(&bucket);
        let put_and_delete = |key: &[u8]| {
            elsewhere.put_int(key, 1);
            elsewhere.delete_one(key);
        };
        let timed = || {
            let mut longest = Longest::default();
            longest.call(|| call(&bucket));
            longest.ms()
        };
        let (took, longest) = beside(put_and_delete, timed);
        (own, others) = (own.max(took), others.max(longest));
        drop(bucket);
        let_it_rest();
    }
    let name = format!("{what} of 5 M keys, worst round, ms");
    rows.at_most(&name, own, None, 5.0);
    let name = format!("the same: longest call elsewhere, worst round, ms ({what})");
    rows.at_most(&name, others, None, 5.0);
}

pub fn measure(rows: &mut Rows) {
    release(rows, "clear", Bucket::clear);
    release(rows, "stop", Bucket::stop);
    snapshots(rows);
    growth(rows);
}
