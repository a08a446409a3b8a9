//! Rounds that take turns, so that the machine's mood hits everyone alike.

use std::time::Instant;

pub const ROUNDS: usize = 15;

/// Nanoseconds of one operation, over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Time {
    pub fn of(mut times: Vec<f64>) -> Time {
        times.sort_by(f64::total_cmp);
        Time {
            median: times[times.len() / 2],
            low: times[0],
            high: times[times.len() - 1],
        }
    }
}

/// One contestant: what a round does, and how many operations that is.
pub struct Entry<'a> {
    pub name: String,
    operations: usize,
    round: Box<dyn FnMut() + 'a>,
    /// Before each round, outside the clock.
    prepare: Box<dyn FnMut() + 'a>,
}

impl<'a> Entry<'a> {
    pub fn new(name: &str, operations: usize, round: impl FnMut() + 'a) -> Entry<'a> {
        Entry {
            name: name.into(),
            operations,
            round: Box::new(round),
            prepare: Box::new(|| ()),
        }
    }

    pub fn preparing(mut self, prepare: impl FnMut() + 'a) -> Entry<'a> {
        self.prepare = Box::new(prepare);
        self
    }
}

/// The times of each entry, in their order.
pub fn compare(mut entries: Vec<Entry<'_>>) -> Vec<Time> {
    let mut times = vec![Vec::new(); entries.len()];
    for round in 0..=ROUNDS {
        for (entry, times) in entries.iter_mut().zip(&mut times) {
            (entry.prepare)();
            let start = Instant::now();
            (entry.round)();
            let took = start.elapsed().as_nanos() as f64 / entry.operations as f64;
            // The first warms up.
            if round > 0 {
                times.push(took);
            }
        }
    }
    times.into_iter().map(Time::of).collect()
}
