//! What limits, subscribers, and the casts of others cost a call; and memory beside the payload.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::clock::{medians, per_call};
use super::rows::Rows;
use crate::keys::{self, Keys};
use crate::kvreg::{Bucket, Registry};
use crate::sections::memory::{child, resident};

const CALLS: usize = 200_000;
const MOMENT: Duration = Duration::from_millis(200);

fn puts(bucket: &Bucket) -> f64 {
    per_call(CALLS, || {
        (0..CALLS).for_each(|number| bucket.put_int(b"milk", number as i64))
    })
}

fn limits(rows: &mut Rows) {
    let (limited, registry) = (Registry::with_limit(1 << 30), Registry::start());
    let (with, without) = (limited.bucket("shopping"), registry.bucket("shopping"));
    let figures = medians([&mut || puts(&with), &mut || puts(&without)]);
    rows.times(
        "put over an old key with max_bytes, ns / without",
        figures,
        0.7,
    );
}

/// One who subscribes, reads a while what is changed, and leaves.
fn subscriber_that_left(rows: &mut Rows) {
    let registry = Registry::start();
    let (watched, other) = (registry.bucket("shopping"), registry.bucket("other"));
    registry.while_listening(|port| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream
            .write_all(b"SUBSCRIBE shopping\r\n")
            .expect("it reads");
        let mut line = [0; 16];
        while stream.set_read_timeout(Some(MOMENT)).is_ok() {
            watched.put_int(b"milk", 1);
            if stream.read(&mut line).is_ok() {
                break; // it is told
            }
        }
        stream.shutdown(Shutdown::Both).expect("it is connected");
        drop(stream);
        // The listener hears of it when it tells of a change.
        for _ in 0..5 {
            watched.put_int(b"milk", 1);
            std::thread::sleep(MOMENT);
        }
    });
    let figures = medians([&mut || puts(&watched), &mut || puts(&other)]);
    rows.times("put after a subscriber left, ns / without", figures, 0.7);
}

/// A read by a thread whose own cast waits elsewhere, when so many casts of others wait there.
fn read_beside(queued: usize) -> f64 {
    const READS: usize = 100;
    let (read, elsewhere) = (Bucket::patient(), Bucket::patient());
    read.put_int(b"milk", 1);
    let reader = || {
        elsewhere.cast_int(b"mine", 1);
        read.get_int(b"milk");
        per_call(READS, || (0..READS).for_each(|_| _ = read.get_int(b"milk")))
    };
    read.while_busy(|| {
        elsewhere.while_busy(|| {
            std::thread::scope(|scope| {
                let queue = || (0..queued as i64).for_each(|n| read.cast_int(b"queued", n));
                scope.spawn(queue).join().expect("it ran");
                scope.spawn(reader).join().expect("it ran")
            })
        })
    })
}

fn queued(rows: &mut Rows) {
    let [full, empty] = medians([&mut || read_beside(1_000_000), &mut || read_beside(0)]);
    let name = "get where others queued 10^6 casts, own cast elsewhere, ns / none queued";
    rows.at_most(name, full, Some(empty), 200.0);
}

const KEYS: usize = 500_000;
const VALUE: [u8; 1024] = [7; 1024];

/// What kvreg or a map takes for its keys, in bytes: in a process of its own.
pub fn memory_of(who: &str) -> f64 {
    let keys = Keys::numbered(0..KEYS);
    let before = resident("VmRSS");
    match who {
        "wide-kvreg" => {
            let bucket = Bucket::start();
            keys.iter().for_each(|key| bucket.put_one(key, &VALUE));
            std::mem::forget(bucket);
        }
        "wide-hashbrown" => {
            let mut map = HashMap::<Box<[u8]>, Box<[u8]>, RandomState>::default();
            for key in keys.iter() {
                map.insert(key.into(), VALUE[..].into());
            }
            std::mem::forget(map);
        }
        _ => panic!("no such measurement: {who}"),
    }
    resident("VmRSS") - before
}

fn memory(rows: &mut Rows) {
    let beside = |who| child(who) / KEYS as f64 - (keys::LEN + VALUE.len()) as f64;
    let (kvreg, map) = (beside("wide-kvreg"), beside("wide-hashbrown"));
    let name = "memory beside key and value of 1 KiB, bytes / hashbrown";
    rows.at_most(name, kvreg, Some(map), 90.0);
}

pub fn measure(rows: &mut Rows) {
    limits(rows);
    subscriber_that_left(rows);
    queued(rows);
    memory(rows);
}
