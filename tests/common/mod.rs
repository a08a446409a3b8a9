//! How often the tests try what is a matter of luck, and how they wait.
#![allow(dead_code)] // each of them uses some

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvreg::{Bucket, Error, Event, Inbox, Timeout};

/// So long a test waits for what must come: long enough for any machine that is busy, and yet it
/// fails where it would hang.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// This count in `make test`, ten times as many in `make test-often`, which sets
/// KVREG_TEST_SCALE.
pub fn scaled(count: u32) -> u32 {
    let scale = std::env::var("KVREG_TEST_SCALE").ok();
    let scale: u32 = scale.map_or(1, |text| {
        text.parse().expect("KVREG_TEST_SCALE is a number")
    });
    count * scale.max(1)
}

/// A bucket whose calls wait as long as it takes: that a machine is busy is no failure.
pub fn patient() -> Bucket {
    let mut bucket = Bucket::start().unwrap();
    bucket.set_timeout(Timeout::Never);
    bucket
}

/// Looks again and again until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Sends a cast. Where readers that do not run hold much back it is refused, for it never waits:
/// then it is sent again.
pub fn cast(mut send: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        match send() {
            Err(Error::NoMemory) if begin.elapsed() < PATIENCE => thread::yield_now(),
            answer => return answer,
        }
    }
}

/// The next event, which must come.
#[track_caller]
pub fn next_event(inbox: &Inbox) -> Event {
    inbox.receive(PATIENCE).expect("an event comes")
}

/// Tells the threads of a scope that it is over, also where their test fails: else they would go
/// on, and the scope wait for them, for ever.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
