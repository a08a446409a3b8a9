//! Memory, and what the library costs before it does anything. Each in a process of its own.

use std::collections::HashMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::keys::{self, Keys};
use crate::kvreg::{Bucket, Registry};
use crate::peers::Map;
use crate::report::Report;

const BUCKETS: usize = 100_000;
const KEYS: usize = 1_000_000;
const VALUE: [u8; 64] = [7; 64];
const LARGE: usize = 16 << 20;

pub fn measure(report: &mut Report, library: &str) {
    report.section("Memory and the library itself");
    let bucket = child("buckets") / BUCKETS as f64;
    report.figure("an empty bucket", bucket, "bytes");
    report.at_most("memory of an empty bucket", 512.0, bucket, "bytes");
    let beside = |what| child(what) / KEYS as f64 - (keys::LEN + VALUE.len()) as f64;
    let (kvreg, std) = (beside("keys"), beside("std-keys"));
    report.figure("a key, beside key and value", kvreg, "bytes");
    report.figure("the same in std's HashMap", std, "bytes");
    report.at_most("memory per key against std::HashMap", 1.3, kvreg / std, "x");
    let large = child("large") / LARGE as f64;
    report.figure(
        "16 MiB overwritten 10,000 times beside a reader",
        large,
        "values at most",
    );
    report.at_most(
        "resident memory while 16 MiB is overwritten",
        10.0,
        large,
        "values",
    );
    let stripped = stripped(library);
    report.figure("the library, stripped", stripped, "MB");
    report.at_most("the stripped library", 1.5, stripped, "MB");
    let first = child("first");
    report.figure("the first call of a process", first / 1000.0, "us");
    report.at_most("the first call", 1000.0, first / 1000.0, "us");
    report.figure("loading it", child("load") / 1000.0, "us");
    let idle = child("idle");
    report.figure("wake-ups in a second of idleness", idle, "");
    report.at_most("wake-ups when idle", 0.0, idle, "");
}

/// Runs this program for one measurement, and reads what it prints.
pub fn child(what: &str) -> f64 {
    let program = std::env::current_exe().expect("a program");
    let output = Command::new(program).args(["--child", what]).output();
    let text = String::from_utf8(output.expect("a child").stdout).expect("a number");
    let number = text.trim().parse();
    number.unwrap_or_else(|_| panic!("the measurement {what} failed: {text}"))
}

/// The measurement itself, in a child.
pub fn run(what: &str, library: &str) {
    let measured = match what {
        "buckets" => {
            let registry = Registry::start();
            let names = Keys::numbered(0..BUCKETS);
            registry.create(&Keys::numbered(0..1));
            let before = resident("VmRSS");
            registry.create(&names);
            let after = resident("VmRSS");
            std::mem::forget(registry);
            after - before
        }
        "keys" => {
            let bucket = Bucket::start();
            let all = Keys::numbered(0..KEYS);
            bucket.put(&Keys::numbered(0..1), &VALUE);
            let before = resident("VmRSS");
            bucket.put(&all, &VALUE);
            resident("VmRSS") - before
        }
        "std-keys" => {
            let all = Keys::numbered(0..KEYS);
            let before = resident("VmRSS");
            let mut map: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
            for key in all.iter() {
                map.insert(key.into(), VALUE.into());
            }
            let after = resident("VmRSS");
            std::mem::forget(map);
            after - before
        }
        "large" => overwrite_large(),
        "first" => {
            let start = Instant::now();
            let bucket = Bucket::start();
            bucket.put(&Keys::numbered(0..1), &VALUE);
            let took = start.elapsed();
            drop(bucket);
            took.as_nanos() as f64
        }
        "load" => load(library),
        "idle" => idle(),
        _ => crate::wide::memory_of(what),
    };
    println!("{measured}");
}

/// A figure of /proc/self/status, in bytes.
pub fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|text| text.parse::<f64>().ok())
        .expect("a number")
        * 1024.0
}

fn overwrite_large() -> f64 {
    let (bucket, keys, value) = (Bucket::start(), Keys::numbered(0..1), vec![7; LARGE]);
    let done = AtomicBool::new(false);
    bucket.put(&keys, &value);
    let before = resident("VmRSS") - LARGE as f64; // but for the bucket's own
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::hint::black_box(bucket.get(&keys));
            }
        });
        for _ in 0..10_000 {
            bucket.put(&keys, &value);
        }
        done.store(true, Ordering::Relaxed);
    });
    resident("VmHWM") - before
}

/// A copy of the library under another name is loaded: this program has the library already.
fn load(library: &str) -> f64 {
    let copy = std::env::temp_dir().join(format!("kvreg-bench-{}.so", std::process::id()));
    std::fs::copy(library, &copy).expect("a copy of the library");
    let path = std::ffi::CString::new(copy.to_string_lossy().as_bytes()).expect("a path");
    let start = Instant::now();
    // SAFETY: kvreg does nothing when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    let took = start.elapsed();
    let _ = std::fs::remove_file(&copy);
    assert!(!handle.is_null(), "the library cannot be loaded");
    took.as_nanos() as f64
}

/// Context switches of all threads but this one in a second, after the runtime was needed.
fn idle() -> f64 {
    let switches = || -> f64 {
        let own = std::process::id().to_string();
        let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
        let count = |task: std::fs::DirEntry| -> Option<f64> {
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            Some(
                lines
                    .filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
                    .sum(),
            )
        };
        let others = tasks.flatten().filter(|task| *task.file_name() != *own);
        others.filter_map(count).sum()
    };
    let (bucket, keys) = (Bucket::start(), Keys::numbered(0..1000));
    // Casts that wait start the runtime: two threads that get in each other's way.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..100 {
                    bucket.put_cast(&keys, &VALUE);
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    let before = switches();
    std::thread::sleep(Duration::from_secs(1));
    switches() - before
}

/// In MB; `strip` is part of what a C compiler needs.
fn stripped(library: &str) -> f64 {
    let copy = std::env::temp_dir().join(format!("kvreg-stripped-{}.so", std::process::id()));
    std::fs::copy(library, &copy).expect("a copy of the library");
    let status = Command::new("strip").arg(&copy).status().expect("strip");
    assert!(status.success());
    let size = std::fs::metadata(&copy).expect("the copy").len();
    let _ = std::fs::remove_file(&copy);
    size as f64 / 1e6
}
