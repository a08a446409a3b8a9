//! The mixes of YCSB on a million keys, drawn by Zipf's law: A is half reads and half writes, C
//! reads only, F half reads and half changes of what was read.

use super::clock::{rate, repeated, ROUNDS};
use super::rows::Rows;
use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::measure::{take_turns, Time, Work};
use crate::peers::{Dash, Papaya, Scc, Store};

const KEYS: usize = 1_000_000;
const DRAWS: usize = 1 << 20;
const SKEW: f64 = 0.99;

/// Keys in the order in which a thread uses them. The frequent ones lie all over the range.
struct Draws {
    keys: Keys,
    /// By turns: what the mix says beside reads.
    writes: Vec<bool>,
}

/// How likely each rank is, and all before it.
fn shares() -> Vec<f64> {
    let mut sum = 0.0;
    let mut add = |rank: usize| {
        sum += (rank as f64).powf(-SKEW);
        sum
    };
    (1..=KEYS).map(&mut add).collect()
}

fn draws(shares: &[f64], seed: u64) -> Draws {
    let mut state = seed;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let all = shares[KEYS - 1];
    let mut draw = || {
        let at = (random() >> 11) as f64 / (1_u64 << 53) as f64 * all;
        shares.partition_point(|share| *share < at) * 7919 % KEYS
    };
    let numbers: Vec<usize> = (0..DRAWS).map(|_| draw()).collect();
    Draws {
        keys: Keys::numbered(numbers.into_iter()),
        writes: (0..DRAWS).map(|_| random() >> 32 & 1 == 1).collect(),
    }
}

fn work<'a>(store: &'a dyn Store, mix: char, size: usize, draws: &'a Draws) -> Work<'a> {
    let (value, mut buffer) = (vec![9; size], vec![0; size]);
    let mut endless = draws.keys.iter().zip(&draws.writes).cycle();
    repeated(move || {
        let (key, is_write) = endless.next().expect("it has no end");
        match (mix, is_write) {
            ('A', true) => store.write(key, &value),
            ('F', true) => store.modify(key, &mut buffer),
            _ => store.read(key, &mut buffer),
        }
    })
}

fn load(size: usize) -> [(&'static str, Box<dyn Store>); 4] {
    let stores: [(_, Box<dyn Store>); 4] = [
        ("kvreg", Box::new(Bucket::patient())),
        ("DashMap", Box::<Dash>::default()),
        ("scc", Box::<Scc>::default()),
        ("papaya", Box::<Papaya>::default()),
    ];
    let (keys, value) = (Keys::numbered(0..KEYS), vec![7; size]);
    for (_, store) in &stores {
        keys.iter().for_each(|key| store.write(key, &value));
    }
    stores
}

pub fn measure(rows: &mut Rows) {
    let shares = shares();
    let draws = [draws(&shares, 88172645463325252), draws(&shares, 362436069)];
    for (size, mixes) in [(100, "F"), (1024, "AFC")] {
        let stores = load(size);
        for mix in mixes.chars() {
            for threads in [1, 2] {
                let turn = |place: usize| {
                    let store = &*stores[place].1;
                    let draws = draws[..threads].iter();
                    rate(draws.map(|draws| work(store, mix, size, draws)).collect())
                };
                let figures = take_turns(ROUNDS, stores.len(), turn).into_iter();
                let medians: Vec<f64> = figures.map(|figures| Time::of(figures).median).collect();
                let rate_of = |place: &usize| medians[*place];
                let best = (1..4).max_by(|a, b| rate_of(a).total_cmp(&rate_of(b)));
                let best = best.expect("there are three");
                let aim = if (mix, size) == ('F', 100) || mix == 'C' {
                    1.0
                } else {
                    0.9
                };
                let name = format!(
                    "YCSB {mix}, {size} B, threads: {threads}, M/s / best of three: {}",
                    stores[best].0
                );
                rows.rates(&name, [medians[0], medians[best]], aim);
            }
        }
    }
}
