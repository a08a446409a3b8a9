//! The tail: each call timed alone, the clock's own cost included.

use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::peers::Map;
use crate::report::Report;

const COUNT: usize = 1_000_000;

pub fn measure(report: &mut Report) {
    report.section("Tail: each call alone, one thread, the clock's own cost included");
    let bucket = Bucket::start();
    let keys = Keys::shuffled(1000, COUNT);
    let value = [7; 64];
    bucket.put(&keys, &value);
    for (what, name) in [(0, "get"), (1, "put"), (2, "put_cast")] {
        let mut times = bucket.timed(&keys, &value, what);
        times.sort_unstable();
        let at = |share: f64| times[((COUNT - 1) as f64 * share) as usize];
        report.histogram(name, &histogram(&times));
        for (share, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
            report.figure(&format!("{name} {label}"), at(share) as f64, "ns");
        }
        if what == 0 {
            let ratio = at(0.999) as f64 / at(0.5) as f64;
            report.at_most("p99.9 of get against its median", 20.0, ratio, "x");
        }
    }
}

/// How many lie below each power of two, and not below the one before.
fn histogram(sorted: &[u64]) -> Vec<(u64, usize)> {
    let mut counts = Vec::new();
    let (mut from, mut below) = (0, 16);
    while from < sorted.len() {
        let to = sorted.partition_point(|time| *time < below);
        if to > from || !counts.is_empty() {
            counts.push((below, to - from));
        }
        from = to;
        below *= 2;
    }
    counts
}
