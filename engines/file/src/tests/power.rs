//! Power that fails: what was not synced is lost, in part, or reaches the disk in another order. At
//! each moment of a history the file is made as it could be then, and opened: all that was answered
//! is there, and nothing of a write without the rest of it.

use super::*;
use crate::disk::chaos::{self, Done};

/// What a bucket has after each of its writes.
type History = Vec<BTreeMap<Vec<u8>, Vec<u8>>>;

const SECTOR: usize = 512;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }
}

/// Twins, a key among several, of many sizes, and now and then one less, or none before.
fn write(store: &Store, number: usize, history: &mut History) {
    let mut now = history[number - 1].clone();
    let mut batch = store.batch(5).unwrap();
    let revision = number as u64;
    if number.is_multiple_of(9) {
        batch.clear(revision).unwrap();
        now.clear();
    }
    let long = vec![number as u8; [10, 500, 5000, 70_000][number % 4]];
    let text = number.to_string().into_bytes();
    let key = format!("key {}", number % 5).into_bytes();
    for (key, value) in [(&b"one"[..], &text), (b"other", &text), (&key, &long)] {
        let record = Record {
            value: Value::Bytes(value),
            revision,
            expires_ms: -1,
        };
        batch.put(key, &record).unwrap();
        now.insert(key.to_vec(), value.clone());
    }
    if number % 4 == 3 {
        let key = format!("key {}", (number + 2) % 5).into_bytes();
        batch.delete(&key, revision).unwrap();
        now.remove(&key);
    }
    // Before it is written: from here on it may be there.
    history.push(now);
    store.write(batch).unwrap();
}

/// Puts a part of a write into the image: whole sectors of the disk.
fn apply(image: &mut Vec<u8>, done: &Done, sectors: impl Fn(usize) -> bool) {
    match done {
        Done::Write(offset, data) => {
            let offset = *offset as usize;
            image.resize(image.len().max(offset + data.len()), 0);
            for (at, byte) in data.iter().enumerate() {
                if sectors((offset + at) / SECTOR) {
                    image[offset + at] = *byte;
                }
            }
        }
        Done::SetLen(len) => image.resize(*len as usize, 0),
        Done::Sync | Done::Answered(_) => {}
    }
}

/// Opens a file that is so, and says what the bucket has.
fn found(folder: &Folder, image: &[u8], sync: Sync) -> Result<Has, Failure> {
    let path = folder.at("after");
    std::fs::write(&path, image).unwrap();
    contents(&open_for(&path, sync, "b", 1)?)
}

/// Each moment of what the disk did, and each way in which power may have failed then.
/// At `most` so many writes are there that were not answered.
fn fail_everywhere(
    all: &[Done],
    history: &History,
    (sync, most): (Sync, usize),
    seed: u64,
) -> usize {
    let (folder, mut random) = (Folder::new(), Random(seed));
    let (mut synced, mut unsynced, mut answered) = (Vec::new(), Vec::new(), 0);
    let mut tried = 0;
    for done in all {
        match done {
            Done::Answered(number) => {
                answered = *number;
                continue;
            }
            Done::Sync => {
                for done in unsynced.drain(..) {
                    apply(&mut synced, done, |_| true);
                }
            }
            done => unsynced.push(done),
        }
        // Nothing of it, all of it, some of it, all of it torn, and some with one that is torn.
        for way in 0..6 {
            let mut image = synced.clone();
            let torn = random.below(unsynced.len().max(1));
            for (at, done) in unsynced.iter().enumerate() {
                let salt = random.below(1 << 30);
                let tears = |sector: usize| !(sector * 7 + salt).is_multiple_of(3);
                match way {
                    0 => {}
                    4 => apply(&mut image, done, tears),
                    5 if at == torn => apply(&mut image, done, tears),
                    1 => apply(&mut image, done, |_| true),
                    _ if random.below(2) == 0 => apply(&mut image, done, |_| true),
                    _ => {}
                }
            }
            let said = || format!("seed {seed}, {tried} tried, way {way}, answered {answered}");
            let (has, revision) = found(&folder, &image, sync).unwrap_or_else(|failure| {
                panic!("{}: it cannot be opened: {failure:?}", said());
            });
            let is_it = |number: &usize| history[*number] == has;
            let number = (answered..history.len().min(answered + most + 1)).find(is_it);
            let number = number.unwrap_or_else(|| panic!("{}: {:?}", said(), has.keys()));
            assert_eq!(revision, number as u64, "{}", said());
            tried += 1;
            if unsynced.is_empty() {
                break;
            }
        }
    }
    tried
}

/// How often by KVREG_TEST_SCALE.
fn scale() -> usize {
    let text = std::env::var("KVREG_TEST_SCALE").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn what_was_answered_outlives_power() {
    let folder = Folder::new();
    chaos::tell(true);
    let store = open(&folder.at("db"), Sync::Always, "b");
    chaos::tell(false);
    let disk = store.lease.file.disk();
    let mut history = vec![BTreeMap::new()];
    for number in 1..=10 * scale() {
        write(&store, number, &mut history);
        disk.chaos.note(|| Done::Answered(number));
    }
    let all = disk.chaos.done();
    drop(store);
    let tried = fail_everywhere(&all, &history, (Sync::Always, 1), 0x9e37_79b9);
    assert!(tried > 100, "{tried}");
}

/// What is synced once a second: the last ones may be lost, and never one before them.
#[test]
fn what_is_lost_are_the_last_ones() {
    let folder = Folder::new();
    chaos::tell(true);
    let store = open(&folder.at("db"), Sync::Interval, "b");
    chaos::tell(false);
    let disk = store.lease.file.disk();
    let mut history = vec![BTreeMap::new()];
    for number in 1..=9 * scale() {
        write(&store, number, &mut history);
        if number % 3 == 0 {
            store.lease.file.store_waiting().unwrap();
            disk.chaos.note(|| Done::Answered(number));
        }
    }
    let all = disk.chaos.done();
    drop(store);
    let tried = fail_everywhere(&all, &history, (Sync::Interval, 3), 0x1234_5678);
    assert!(tried > 50, "{tried}");
}
