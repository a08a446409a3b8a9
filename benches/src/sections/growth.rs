//! What more keys and more buckets cost.

use crate::keys::Keys;
use crate::kvreg::{Bucket, Registry};
use crate::measure::{compare, Entry};
use crate::peers::{Dash, Map};
use crate::report::Report;

const COUNT: usize = 100_000;
const VALUE: [u8; 64] = [7; 64];

/// How much slower the largest is than the smallest: kvreg's growth, and DashMap's.
fn growth(report: &mut Report, sizes: &[usize], measure: impl Fn(usize) -> [f64; 2]) -> [f64; 2] {
    let mut all = Vec::new();
    for size in sizes {
        let times = measure(*size);
        report.figure(&format!("{size}: kvreg"), times[0], "ns");
        report.figure(&format!("{size}: DashMap get"), times[1], "ns");
        all.push(times);
    }
    let (first, last) = (all[0], all[all.len() - 1]);
    [last[0] / first[0], last[1] / first[1]]
}

pub fn measure(report: &mut Report) {
    report.section("get by the number of keys, chosen by chance");
    let sizes = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let [kvreg, dash] = growth(report, &sizes, |size| {
        let (bucket, map) = (Bucket::start(), Dash::default());
        let all = Keys::numbered(0..size);
        bucket.put(&all, &VALUE);
        map.put(&all, &VALUE);
        drop(all);
        let keys = Keys::random(size, COUNT);
        let times = compare(vec![
            Entry::new("kvreg", COUNT, || _ = bucket.get(&keys)),
            Entry::new("DashMap", COUNT, || _ = map.get(&keys)),
        ]);
        [times[0].median, times[1].median]
    });
    let ratio = kvreg / dash;
    report.at_most(
        "growth of get, 10^3 to 10^7 keys, against DashMap's",
        1.2,
        ratio,
        "x",
    );

    report.section("lookup and free by the number of buckets, chosen by chance");
    let sizes = [100, 10_000, 1_000_000];
    let [kvreg, dash] = growth(report, &sizes, |size| {
        let (registry, map) = (Registry::start(), Dash::default());
        let all = Keys::numbered(0..size);
        registry.create(&all);
        map.put(&all, &VALUE);
        drop(all);
        let names = Keys::random(size, COUNT);
        let times = compare(vec![
            Entry::new("kvreg", COUNT, || registry.lookup(&names)),
            Entry::new("DashMap", COUNT, || _ = map.get(&names)),
        ]);
        [times[0].median, times[1].median]
    });
    let ratio = kvreg / dash;
    report.at_most(
        "growth of lookup, 10^2 to 10^6 buckets, against DashMap's get",
        1.2,
        ratio,
        "x",
    );
}
