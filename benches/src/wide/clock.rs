//! Times and rates, and the medians of rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::keys::Keys;
use crate::measure::{self, take_turns, Time, Work};

pub const ROUNDS: usize = 5;

const SPAN: Duration = Duration::from_millis(150);
const BATCH: usize = 64;

/// The medians of contestants, each of which gives a figure when it is called.
pub fn medians<const N: usize>(contestants: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    best_of(contestants, |figures| Time::of(figures).median)
}

/// What `choose` makes of the figures of each.
pub fn best_of<const N: usize>(
    contestants: [&mut dyn FnMut() -> f64; N],
    choose: impl Fn(Vec<f64>) -> f64,
) -> [f64; N] {
    let rounds = take_turns(ROUNDS, N, |place| contestants[place]());
    let mut chosen = rounds.into_iter().map(choose);
    std::array::from_fn(|_| chosen.next().expect("a figure of each"))
}

/// The processor time that this thread had: what others do to the machine does not count.
fn own_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place is good for a timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of a call with one of these keys.
pub fn per_key(keys: &Keys, mut call: impl FnMut(&[u8])) -> f64 {
    per_call(keys.len(), || keys.iter().for_each(&mut call))
}

/// Nanoseconds of one of so many calls.
pub fn per_call(calls: usize, all: impl FnOnce()) -> f64 {
    let start = own_time();
    all();
    (own_time() - start).as_nanos() as f64 / calls as f64
}

/// Work of one call after another.
pub fn repeated<'a>(mut call: impl FnMut() + Send + 'a) -> Work<'a> {
    Box::new(move || {
        (0..BATCH).for_each(|_| call());
        BATCH
    })
}

/// Work with one of these keys after another, round and round.
pub fn with_keys<'a>(keys: &'a Keys, mut call: impl FnMut(&[u8]) + Send + 'a) -> Work<'a> {
    let mut endless = keys.iter().cycle();
    repeated(move || call(endless.next().expect("it has no end")))
}

/// Millions of calls a second, of all threads together.
pub fn rate(mut works: Vec<Work<'_>>) -> f64 {
    measure::rates(SPAN, &mut works).iter().sum::<f64>() / 1e6
}

/// The longest of many calls, in milliseconds.
#[derive(Default)]
pub struct Longest(Duration);

impl Longest {
    pub fn call<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let answer = call();
        self.0 = self.0.max(start.elapsed());
        answer
    }

    pub fn ms(&self) -> f64 {
        self.0.as_secs_f64() * 1e3
    }
}

/// What `work` answers, and the longest call of another thread from its beginning until a moment
/// after its end, in milliseconds.
pub fn beside<R>(call: impl Fn(&[u8]) + Sync, work: impl FnOnce() -> R) -> (R, f64) {
    const MOMENT: Duration = Duration::from_millis(100);
    let (ready, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let keys = Keys::shuffled(100, 1000);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            keys.iter().for_each(&call); // it warms up
            ready.store(true, Ordering::Relaxed);
            let mut longest = Longest::default();
            for key in keys.iter().cycle() {
                longest.call(|| call(key));
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
            longest.ms()
        });
        while !ready.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let answer = work();
        std::thread::sleep(MOMENT);
        done.store(true, Ordering::Relaxed);
        (answer, other.join().expect("it ran"))
    })
}
