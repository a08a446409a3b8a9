//! Buckets that take keys out when they are full, beside moka and an LRU: how often a key is found,
//! and how long that takes.

use std::collections::{BTreeMap, HashMap};

use crate::keys::{Keys, Random};
use crate::kvreg::Bucket;
use crate::measure::{compare, Entry};
use crate::peers::{Cache, Moka};
use crate::report::Report;

const KEYS: usize = 5000;
const READS: usize = 1_000_000;
const VALUE: [u8; 64] = [7; 64];

/// Keys that are read once have numbers from here on.
const ONCE: usize = 100_000_000;

struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize, s: f64) -> Zipf {
        let mut sum = 0.0;
        let weights = (1..=ranks).map(|rank| (rank as f64).powf(-s));
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Zipf(sums.collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let sum = self.0[self.0.len() - 1];
        let point = random.below(1 << 40) as f64 / (1u64 << 40) as f64 * sum;
        self.0.partition_point(|it| *it < point)
    }
}

fn traces() -> Vec<(String, Vec<usize>)> {
    let mut all = Vec::new();
    let mut trace = |name: String, key: &dyn Fn(usize, &mut Random) -> usize| {
        let mut random = Random(88172645463325252);
        all.push((name, (0..READS).map(|at| key(at, &mut random)).collect()));
    };
    for s in [0.9, 1.0] {
        let zipf = Zipf::new(20 * KEYS, s);
        trace(format!("zipf, s = {s}"), &|_, random| zipf.draw(random));
        trace(
            format!("zipf, s = {s}, with scans of other keys"),
            &|at, random| match at / KEYS % 5 {
                4 => ONCE + at,
                _ => zipf.draw(random),
            },
        );
        trace(
            format!("zipf, s = {s}, with scans of its own"),
            &|at, random| match at / (10 * KEYS) % 3 {
                2 => at % (10 * KEYS),
                _ => zipf.draw(random),
            },
        );
    }
    trace("a loop of twice the size".into(), &|at, _| at % (2 * KEYS));
    trace("a hot set that moves".into(), &|at, random| {
        let first = at / (20 * KEYS) * (KEYS * 8 / 10);
        match random.below(10) {
            0 => ONCE + random.below(20 * KEYS),
            _ => first + random.below(KEYS * 8 / 10),
        }
    });
    all
}

fn percent(hits: u64) -> f64 {
    100.0 * hits as f64 / READS as f64
}

fn lru(trace: &[usize]) -> f64 {
    let (mut times, mut by_time) = (HashMap::new(), BTreeMap::new());
    let mut hits = 0;
    for (now, key) in trace.iter().enumerate() {
        if let Some(before) = times.insert(key, now) {
            by_time.remove(&before);
            hits += 1;
        }
        by_time.insert(now, key);
        if times.len() > KEYS {
            if let Some((_, oldest)) = by_time.pop_first() {
                times.remove(oldest);
            }
        }
    }
    percent(hits)
}

fn ratios(report: &mut Report) {
    report.section("A cache of 5,000 keys: how many of a hundred reads find their key");
    let mut least = (f64::MAX, f64::MAX);
    for (name, trace) in traces() {
        let keys = Keys::numbered(trace.iter().copied());
        let kvreg = percent(Bucket::start_cache(KEYS).find_or_put(&keys, &VALUE));
        let moka = percent(Moka::of_keys(KEYS).find_or_put_at_once(&keys, &VALUE));
        let lru = lru(&trace);
        report.figure(&format!("{name}: kvreg"), kvreg, "%");
        report.figure(&format!("{name}: moka"), moka, "%");
        report.figure(&format!("{name}: an LRU"), lru, "%");
        if name.starts_with("zipf") {
            least.0 = least.0.min(kvreg - moka);
        }
        least.1 = least.1.min(kvreg - lru);
    }
    report.at_least(
        "hits of zipf beside moka's, the worst",
        -2.0,
        least.0,
        "points",
    );
    report.at_least("hits beside an LRU's, the worst", -5.0, least.1, "points");
}

pub fn measure(report: &mut Report) {
    ratios(report);
    report.section("A cache of 5,000 keys, values of 64 bytes, one thread");
    let (kvreg, moka) = (Bucket::start_cache(KEYS), Moka::of_keys(KEYS));
    let mut run = |what: &'static str, keys: &dyn Fn() -> Keys, work: fn(&dyn Cache, &Keys)| {
        let (first, second) = (keys(), keys());
        let times = compare(vec![
            Entry::new("kvreg", first.len(), || work(&kvreg, &first)),
            Entry::new("moka", second.len(), || work(&moka, &second)),
        ]);
        report.times(what, &["kvreg".into(), "moka".into()], &times);
        report.at_least(
            what,
            1.0,
            times[1].median / times[0].median,
            "x moka's throughput",
        );
    };
    let half = || Keys::shuffled(KEYS / 2, 50_000);
    run("put over an older key", &half, |cache, keys| {
        cache.put(keys, &VALUE)
    });
    run("get", &half, |cache, keys| _ = cache.get(keys));
    let zipf = || {
        let (zipf, mut random) = (Zipf::new(20 * KEYS, 1.0), Random(7));
        Keys::numbered((0..100_000).map(|_| zipf.draw(&mut random)))
    };
    run("get, or put where it is not found", &zipf, |cache, keys| {
        cache.find_or_put(keys, &VALUE);
    });
    let new = || Keys::numbered(ONCE..ONCE + 20 * KEYS);
    run(
        "put of a new key, where another makes room",
        &new,
        |cache, keys| {
            cache.put(keys, &VALUE);
        },
    );
}
