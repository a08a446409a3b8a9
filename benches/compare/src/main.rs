//! Measures kvreg from C, through the shared library, against its peers: all in one run, in
//! rounds that take turns, so that the machine's mood hits everyone alike. Prints medians and
//! the ratios to kvreg; quote the ratios.
//!
//! `kvreg-compare [path of libkvreg.so]`

mod kvreg;
mod peers;

use std::path::PathBuf;
use std::time::Instant;

#[derive(Clone, Copy, PartialEq)]
pub enum Work {
    Get,
    /// Over an existing key.
    Put,
}

pub trait Peer {
    /// Does the work once for each key.
    fn run(&self, work: Work, keys: &Keys, value: &[u8]) -> u64;
}

/// Keys of ten bytes, one after another.
pub struct Keys {
    pub bytes: Vec<u8>,
    pub count: usize,
}

impl Keys {
    const LEN: usize = 10;

    /// So many keys, `times` over, in an order that no cache foresees.
    fn new(distinct: usize, times: usize) -> Keys {
        let mut order: Vec<usize> = (0..distinct * times).map(|i| i % distinct).collect();
        let mut random = 88172645463325252u64;
        for i in (1..order.len()).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            order.swap(i, (random % (i as u64 + 1)) as usize);
        }
        let bytes = order
            .iter()
            .flat_map(|key| format!("key{key:07}").into_bytes());
        Keys {
            bytes: bytes.collect(),
            count: order.len(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(Keys::LEN)
    }
}

struct Row {
    name: &'static str,
    peer: Box<dyn Peer>,
    /// A slow peer does fewer steps a round.
    keys: Keys,
    /// Nanoseconds an operation, a round each: get, put.
    times: [Vec<f64>; 2],
}

const ROUNDS: usize = 21;
const DISTINCT: usize = 1000;

fn main() {
    let library = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from("target/release/libkvreg.so"),
        PathBuf::from,
    );
    let row = |name, peer: Box<dyn Peer>, times| Row {
        name,
        peer,
        keys: Keys::new(DISTINCT, times),
        times: [Vec::new(), Vec::new()],
    };
    let mut rows = [
        row("kvreg", Box::new(kvreg::Kvreg::load(&library, false)), 200),
        row("DashMap", Box::new(peers::Dash::new(false)), 200),
        row(
            "kvreg, into a buffer",
            Box::new(kvreg::Kvreg::load(&library, true)),
            200,
        ),
        row(
            "DashMap, into a buffer",
            Box::new(peers::Dash::new(true)),
            200,
        ),
        row("tokio actor", Box::new(peers::Actor::start()), 2),
    ];
    let value = [7u8; 64];
    let mut sum = 0;
    for row in &rows {
        sum += row.peer.run(Work::Put, &row.keys, &value);
    }
    for _ in 0..ROUNDS {
        for row in &mut rows {
            for (work, times) in [Work::Get, Work::Put].into_iter().zip(&mut row.times) {
                let start = Instant::now();
                sum += row.peer.run(work, &row.keys, &value);
                times.push(start.elapsed().as_nanos() as f64 / row.keys.count as f64);
            }
        }
    }
    std::hint::black_box(sum);
    print(&mut rows);
}

fn print(rows: &mut [Row]) {
    println!(
        "{DISTINCT} keys of {} bytes, values of 64 bytes, one thread;",
        Keys::LEN
    );
    println!("median of {ROUNDS} interleaved rounds, and how many times kvreg's\n");
    println!(
        "{:<24} {:>10} {:>8} {:>10} {:>8}",
        "", "get, ns", "", "put, ns", ""
    );
    let mut medians = Vec::new();
    for row in rows.iter_mut() {
        medians.push(row.times.each_mut().map(|times| median(times)));
    }
    for (row, median) in rows.iter().zip(&medians) {
        // Each against kvreg used in the same way.
        let base = match row.name.contains("buffer") {
            true => medians[2],
            false => medians[0],
        };
        println!(
            "{:<24} {:>10.1} {:>7.2}x {:>10.1} {:>7.2}x",
            row.name,
            median[0],
            median[0] / base[0],
            median[1],
            median[1] / base[1],
        );
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
