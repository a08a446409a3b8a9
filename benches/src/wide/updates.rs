//! Increments of one key: by one thread, and by several that want it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::calls::{KEEP, STORE};
use super::clock::{medians, per_call, ROUNDS};
use super::rows::Rows;
use crate::kvreg::Bucket;
use crate::measure::Time;

type Numbers = HashMap<Vec<u8>, i64, RandomState>;

const KEY: &[u8] = b"visits";
const CALLS: usize = 100_000;
const SPAN: Duration = Duration::from_millis(200);

fn add(numbers: &mut Numbers) {
    *numbers.entry_ref(KEY).or_insert(0) += 1;
}

fn times(call: impl Fn()) -> f64 {
    per_call(CALLS, || (0..CALLS).for_each(|_| call()))
}

/// A mutex of the system, as C programs have it.
struct Locked(std::cell::UnsafeCell<libc::pthread_mutex_t>);

impl Locked {
    fn with(&self, work: impl FnOnce()) {
        // SAFETY: it was initialised, does not move, and who locks it unlocks it.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
        work();
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
    }
}

fn alone(rows: &mut Rows, bucket: &Bucket) {
    let numbers = parking_lot::Mutex::new(Numbers::default());
    let figures = medians([&mut || times(|| bucket.increment(KEY)), &mut || {
        times(|| add(&mut numbers.lock()))
    }]);
    let name = "update of one key by a callback, ns / parking_lot's Mutex, the same work";
    rows.times(name, figures, 0.3);
    let locked = Locked(libc::PTHREAD_MUTEX_INITIALIZER.into());
    let figures = medians([
        &mut || times(|| bucket.begin_and_end(KEY, KEEP)),
        &mut || times(|| locked.with(|| _ = bucket.get_int(KEY))),
    ]);
    let name = "update_begin and update_end, keep, ns / pthread mutex round a get";
    rows.times(name, figures, 0.2);
    let figures = medians([
        &mut || times(|| bucket.begin_and_end(KEY, STORE)),
        &mut || times(|| locked.with(|| bucket.put_int(KEY, bucket.get_int(KEY) + 1))),
    ]);
    let name = "increment by update_begin and _end, ns / pthread mutex round get and put";
    rows.times(name, figures, 0.3);
}

/// Millions a second of all threads, and the 99.9th percentile of a call in microseconds.
fn contend(threads: usize, call: impl Fn() + Sync) -> [f64; 2] {
    let done = AtomicBool::new(false);
    let start = Instant::now();
    let work = || {
        let mut times: Vec<u32> = Vec::with_capacity(1 << 21);
        while !done.load(Ordering::Relaxed) {
            let start = Instant::now();
            call();
            times.push(start.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
        }
        times
    };
    let mut times: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        std::thread::sleep(SPAN);
        done.store(true, Ordering::Relaxed);
        let threads = threads.into_iter();
        threads
            .flat_map(|thread| thread.join().expect("it ran"))
            .collect()
    });
    let seconds = start.elapsed().as_secs_f64();
    let place = times.len() * 999 / 1000;
    let (_, slow, _) = times.select_nth_unstable(place);
    let slow = f64::from(*slow) / 1e3;
    [times.len() as f64 / seconds / 1e6, slow]
}

fn contended(rows: &mut Rows, bucket: &Bucket, threads: usize) {
    let numbers = Mutex::new(Numbers::default());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let kvreg = contend(threads, || bucket.increment(KEY));
        let peer = contend(threads, || add(&mut numbers.lock().expect("no panic")));
        rounds.push([kvreg, peer]);
    }
    let median = |who: usize, what: usize| {
        Time::of(rounds.iter().map(|round| round[who][what]).collect()).median
    };
    let name = format!("update of one key by {threads} threads, M/s in all / std's Mutex");
    rows.rates(&name, [median(0, 0), median(1, 0)], 0.4);
    let name = format!("update of one key by {threads} threads, p99.9 in us / std's Mutex");
    rows.at_most(&name, median(0, 1), Some(median(1, 1)), 20.0);
}

pub fn measure(rows: &mut Rows) {
    let bucket = Bucket::patient();
    alone(rows, &bucket);
    for threads in [2, 4, 8] {
        contended(rows, &bucket, threads);
    }
}
