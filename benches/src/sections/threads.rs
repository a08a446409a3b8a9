//! Several threads at once.

use std::time::Duration;

use crate::keys::Keys;
use crate::kvreg::{Bucket, Registry};
use crate::measure::{rates, Time, Work};
use crate::peers::{Dash, Locked, Map};
use crate::report::Report;

const BATCH: usize = 1000;
const SPAN: Duration = Duration::from_millis(250);
const ROUNDS: usize = 7;
const VALUE: [u8; 64] = [7; 64];

/// Medians over the rounds of: the rate of all together, the first one's, and the slowest's
/// share of the mean.
fn repeat(mut works: Vec<Work<'_>>) -> [f64; 3] {
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let rates = rates(SPAN, &mut works);
        let total: f64 = rates.iter().sum();
        let slowest = rates.iter().copied().fold(f64::MAX, f64::min);
        all[0].push(total);
        all[1].push(rates[0]);
        all[2].push(slowest / (total / rates.len() as f64));
    }
    all.map(|rates| Time::of(rates).median)
}

fn put<'a>(map: &'a dyn Map, keys: &'a Keys) -> Work<'a> {
    Box::new(|| {
        map.put(keys, &VALUE);
        keys.len()
    })
}

fn show(report: &mut Report, what: &str, rate: f64) {
    report.figure(what, rate / 1e6, "M/s");
}

pub fn measure(report: &mut Report) {
    report.section("Threads: operations a second, all threads together");
    let keys = Keys::shuffled(1000, BATCH);
    let by_chance = Keys::random(1000, BATCH);
    let others = Keys::numbered(1000..2000);
    let maps: [(&str, Box<dyn Map>); 3] = [
        ("kvreg", Box::new(Bucket::start())),
        ("DashMap", Box::new(Dash::default())),
        ("Mutex<HashMap>", Box::new(Locked::default())),
    ];
    let mut puts_of_four = Vec::new();
    for (name, map) in &maps {
        map.put(&keys, &VALUE);
        map.put(&others, &VALUE);
        let get = || -> Work<'_> {
            Box::new(|| {
                map.get(&keys);
                BATCH
            })
        };
        let put = |keys| put(&**map, keys);
        let mut gets = Vec::new();
        for threads in [1, 2, 4] {
            let [total, ..] = repeat((0..threads).map(|_| get()).collect());
            show(report, &format!("{name}: get by {threads}"), total);
            gets.push(total);
        }
        for threads in [1, 2, 4] {
            let [total, _, share] = repeat((0..threads).map(|_| put(&keys)).collect());
            show(report, &format!("{name}: put by {threads}"), total);
            if threads == 4 {
                puts_of_four.push((total, share));
            }
        }
        let beside = |written| repeat(vec![get(), put(written)])[1];
        let (same, others) = (beside(&by_chance), beside(&others));
        show(
            report,
            &format!("{name}: get beside a writer of the same keys"),
            same,
        );
        show(
            report,
            &format!("{name}: get beside a writer of other keys"),
            others,
        );
        if *name == "kvreg" {
            report.at_least(
                "2 readers on one bucket against 1",
                1.8,
                gets[1] / gets[0],
                "x",
            );
            let what = "a reader beside a busy writer of other keys against alone";
            report.at_least(what, 0.6, others / gets[0], "x");
            let what = "a reader beside a busy writer of the same keys against alone";
            report.at_least(what, 0.6, same / gets[0], "x");
        }
    }
    let (kvreg, share) = puts_of_four[0];
    let against = kvreg / puts_of_four[2].0;
    report.at_least(
        "4 threads putting against Mutex<HashMap>",
        0.8,
        against,
        "x",
    );
    report.at_least(
        "the slowest of 4 putting threads against the mean",
        0.5,
        share,
        "x",
    );
    many_buckets(report, &keys);
}

fn many_buckets(report: &mut Report, keys: &Keys) {
    let registry = Registry::start();
    let buckets: Vec<Bucket> = (0..4).map(|i| registry.bucket(&format!("b{i}"))).collect();
    for threads in [1, 2, 4] {
        let works = buckets[..threads].iter().map(|bucket| put(bucket, keys));
        let [total, ..] = repeat(works.collect());
        show(
            report,
            &format!("kvreg: put by {threads}, a bucket each"),
            total,
        );
    }
}
