//! Rounds that take turns, so that the machine's mood hits everyone alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::{Duration, Instant};

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
    let count = entries.len();
    let turn = |place: usize| {
        let entry: &mut Entry = &mut entries[place];
        (entry.prepare)();
        let start = Instant::now();
        (entry.round)();
        start.elapsed().as_nanos() as f64 / entry.operations as f64
    };
    // The first warms up.
    let times = take_turns(ROUNDS + 1, count, turn);
    let measured = |times: Vec<f64>| Time::of(times[1..].to_vec());
    times.into_iter().map(measured).collect()
}

/// The figures of so many contestants, each over the rounds; `turn` gives one of the contestant at
/// that place.
pub fn take_turns(
    rounds: usize,
    contestants: usize,
    mut turn: impl FnMut(usize) -> f64,
) -> Vec<Vec<f64>> {
    let mut figures = vec![Vec::new(); contestants];
    for _ in 0..rounds {
        for (place, figures) in figures.iter_mut().enumerate() {
            figures.push(turn(place));
        }
    }
    figures
}

/// What a thread does: each call is a batch, and answers how many operations that was.
pub type Work<'a> = Box<dyn FnMut() -> usize + Send + 'a>;

/// Operations a second of each thread, while all of them work for so long.
pub fn rates(span: Duration, works: &mut [Work<'_>]) -> Vec<f64> {
    let done = &AtomicBool::new(false);
    let all = &Barrier::new(works.len() + 1);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for work in works {
            threads.push(scope.spawn(move || {
                all.wait();
                let (start, mut count) = (Instant::now(), 0);
                while !done.load(Ordering::Relaxed) {
                    count += work();
                }
                count as f64 / start.elapsed().as_secs_f64()
            }));
        }
        all.wait();
        std::thread::sleep(span);
        done.store(true, Ordering::Relaxed);
        let threads = threads.into_iter();
        threads
            .map(|thread| thread.join().expect("it ran"))
            .collect()
    })
}
