//! G14: what was taken out and is not freed yet is bounded, whatever readers do. One test, for its
//! parts look at the memory of the whole process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use kvreg::{Bucket, Error, Value};

#[path = "common/stopped.rs"]
mod stopped;
use stopped::{allocator, stop};

mod common;
use common::{eventually, Over};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes that were allocated and not freed.
fn in_use() -> usize {
    // SAFETY: takes nothing.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn grown_since(before: usize) -> usize {
    in_use().saturating_sub(before)
}

#[test]
fn g14_what_was_taken_out_is_bounded() {
    idle_threads_keep_little();
    under_load_it_stays_within_the_bound();
    what_is_cleared_is_freed_later_and_by_others();
    a_stopped_reader_holds_back_no_more_than_the_bound();
}

fn idle_threads_keep_little() {
    const THREADS: usize = 32;
    let bucket = Bucket::start().unwrap();
    let (written, counted) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let value = vec![7u8; 20 * KIB];
    thread::scope(|scope| {
        let before = in_use();
        for number in 0..THREADS {
            let (bucket, value, written, counted) = (&bucket, &value, &written, &counted);
            scope.spawn(move || {
                for round in 0..100 {
                    let value = &value[..value.len() - round % 2];
                    bucket.put(number.to_le_bytes(), value).unwrap();
                }
                written.wait();
                counted.wait();
            });
        }
        written.wait();
        // What a thread could not free, for another was reading, is freed by who comes next.
        for number in 0..100 {
            bucket.put(b"mine", &value[..number]).unwrap();
        }
        // Nobody calls meanwhile, but a thread of the library's may be at it.
        let kept = || grown_since(before).saturating_sub(THREADS * value.len());
        let mut kept_at_last = kept();
        let is_little = |kept: usize| kept < THREADS * 16 * KIB + MIB;
        let begin = Instant::now();
        while !is_little(kept_at_last) && begin.elapsed() < Duration::from_secs(60) {
            thread::yield_now();
            kept_at_last = kept();
        }
        counted.wait();
        assert!(is_little(kept_at_last), "{kept_at_last} bytes kept");
    });
}

fn under_load_it_stays_within_the_bound() {
    const THREADS: usize = 4;
    let value = vec![7u8; 8 * KIB]; // beyond what is changed in its place
    let before = in_use();
    let is_over = AtomicBool::new(false);
    let peak = thread::scope(|scope| {
        let over = Over(&is_over);
        let writers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let bucket = Bucket::start().unwrap();
                    for round in 0..20_000usize {
                        let value = &value[..value.len() - round % 2];
                        bucket.put((round % 10).to_le_bytes(), value).unwrap();
                    }
                })
            })
            .collect();
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !is_over.load(Ordering::Relaxed) {
                peak = peak.max(grown_since(before));
                thread::yield_now();
            }
            peak
        });
        writers.into_iter().for_each(|it| it.join().unwrap());
        drop(over);
        watcher.join().unwrap()
    });
    assert!(peak < 32 * MIB + MIB, "{peak} bytes");
}

fn what_is_cleared_is_freed_later_and_by_others() {
    const COUNT: u32 = 300_000;
    let bucket = Bucket::start().unwrap();
    let fill = || {
        for number in 0..COUNT {
            bucket.put(number.to_le_bytes(), 1).unwrap();
        }
    };
    for ends in [false, true] {
        let before = in_use();
        fill();
        let full = grown_since(before);
        let freed_before = allocator::freed();
        match ends {
            false => bucket.clear().unwrap(),
            true => bucket.stop().unwrap(),
        }
        // It helps a little, and does not go on until all is freed.
        let freed = allocator::freed() - freed_before;
        assert!(freed < COUNT as usize / 2, "the caller freed {freed}");
        // Nobody calls meanwhile.
        eventually("what was cleared is freed", || {
            grown_since(before) <= full / 100
        });
    }
}

fn a_stopped_reader_holds_back_no_more_than_the_bound() {
    let patience = Duration::from_secs(60);
    let bucket = Bucket::start().unwrap().with_timeout(patience);
    bucket.put(b"read", 1).unwrap();
    for number in 0..20_000u32 {
        bucket.put(number.to_le_bytes(), 1).unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    let (reads, reads_from) = (Arc::clone(&done), bucket.clone());
    let (says, is_reading) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        // Until the bucket is emptied.
        let read = || reads_from.get::<i64>(b"read").is_ok();
        // The first read may need memory; then none does, and the thread is stopped in no lock of
        // the allocator's, which others would wait for.
        read();
        says.send(()).unwrap();
        while !reads.load(Ordering::Relaxed) {
            read();
        }
    });
    is_reading.recv().unwrap();
    // It is pinned at some of the places where it may be stopped.
    eventually("a reader that holds back", || {
        is_held_back(&bucket, &reader)
    });
    done.store(true, Ordering::Relaxed);
    reader.join().unwrap();
}

/// Stops the reader and writes; `false` if it held back nothing.
fn is_held_back(bucket: &Bucket, reader: &thread::JoinHandle<()>) -> bool {
    const COUNT: usize = 10_000;
    let stopped = stop(reader);
    let hurried = bucket.clone().with_timeout(Duration::from_millis(20));
    let before = in_use();
    let value = vec![7u8; 8 * KIB];
    let put = |round: usize| hurried.put(b"k", &value[..value.len() - round % 2]);
    let refused = (0..COUNT).find_map(|round| put(round).err());
    if refused.is_some() {
        assert_eq!(refused, Some(Error::NoMemory));
        let held = grown_since(before);
        assert!(held < 32 * MIB, "{held} bytes are held back");
        let stored: Value = bucket.get(b"k").unwrap();
        assert!(stored
            .as_bytes()
            .is_some_and(|it| it.len() >= value.len() - 1));
        assert_eq!(bucket.put_cast(b"k", 1), Err(Error::NoMemory));
        what_leaves_nothing_or_releases_passes(bucket);
    }
    drop(stopped);
    bucket.put(b"k", &value[..]).unwrap(); // once the reader has its processor again
    refused.is_some()
}

fn what_leaves_nothing_or_releases_passes(bucket: &Bucket) {
    let before = in_use();
    for number in 0..5000u32 {
        bucket.delete(number.to_le_bytes()).unwrap();
    }
    let grown = grown_since(before);
    assert!(grown < 4 * KIB, "to delete took {grown} bytes");
    bucket.put(10_000u32.to_le_bytes(), 2).unwrap();
    conditions_and_sums_there_pass(bucket);
    bucket.clear().unwrap();
    assert_eq!(bucket.count(), Ok(0));
}

/// What they store lies where the older value was. A new key would leave nothing either, but its
/// table may have to grow: it waits, and is refused at its deadline.
fn conditions_and_sums_there_pass(bucket: &Bucket) {
    let key = 10_001u32.to_le_bytes();
    let hurried = bucket.clone().with_timeout(Duration::from_millis(1));
    let revision = hurried.put_entry(key, 2).unwrap();
    let revision = hurried.put_if(key, 3, revision).unwrap();
    assert_eq!(hurried.put_if(key, 4, revision + 1), Err(Error::Conflict));
    assert_eq!(
        hurried.put_if_equal(key, Some(4), Some(5)),
        Err(Error::Conflict)
    );
    assert_eq!(hurried.add_int(key, 4), Ok(7));
    let large = vec![7u8; 8 * KIB];
    let put = hurried.put_if(key, &large[..], 0);
    assert_eq!(put, Err(Error::Conflict)); // named before there is anything to wait for
    hurried.delete(key).unwrap();
}
