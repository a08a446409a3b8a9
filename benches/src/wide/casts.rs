//! Casts of many producers to one bucket, beside a channel whose consumer puts into a map.

use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::clock::medians;
use super::rows::Rows;
use crate::keys::{Keys, LEN};
use crate::kvreg::Bucket;

const COUNT: usize = 500_000;

/// Millions a second of all producers, until all of it is done.
fn rate(producers: usize, all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    (producers * COUNT) as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn cast(bucket: &Bucket, keys: &[Keys]) {
    std::thread::scope(|scope| {
        for keys in keys {
            scope.spawn(|| {
                for (number, key) in keys.iter().cycle().take(COUNT).enumerate() {
                    bucket.cast_int(key, number as i64);
                }
                bucket.settle();
            });
        }
    });
}

fn send(keys: &[Keys]) {
    let (sender, receiver) = crossbeam_channel::unbounded::<([u8; LEN], i64)>();
    let mut numbers = HashMap::<[u8; LEN], i64, RandomState>::default();
    std::thread::scope(|scope| {
        for keys in keys {
            let sender = sender.clone();
            scope.spawn(move || {
                for (number, key) in keys.iter().cycle().take(COUNT).enumerate() {
                    let key = key.try_into().expect("keys have one length");
                    let sent = sender.send((key, number as i64));
                    sent.expect("the consumer is there");
                }
            });
        }
        drop(sender);
        for (key, number) in receiver {
            numbers.insert(key, number);
        }
    });
}

pub fn measure(rows: &mut Rows) {
    for producers in [2, 4] {
        let bucket = Bucket::patient();
        // A cast has had to wait there, as in any bucket that is really used.
        bucket.while_busy(|| bucket.cast_int(b"first", 1));
        bucket.settle();
        let own = |producer| Keys::numbered(producer * 10..(producer + 1) * 10);
        let keys: Vec<Keys> = (0..producers).map(own).collect();
        let figures = medians([
            &mut || rate(producers, || cast(&bucket, &keys)),
            &mut || rate(producers, || send(&keys)),
        ]);
        let name = format!("put_cast by {producers}, M/s / crossbeam's channel, a consumer puts");
        rows.rates(&name, figures, 0.5);
    }
}
