//! Stores as kvreg uses them, but for the boundary of C, which `tests/engines/conformance.c` tests.

mod files;
#[cfg(target_os = "linux")]
mod forks;
mod intervals;
mod power;
mod refusals;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::abi;
use crate::failure::Failure;
use crate::location::{Location, Sync};
use crate::record::{Record, Value};
use crate::store::{self, Store};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kvreg-file-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn location(path: &Path, sync: Sync) -> Location {
    Location {
        path: path.to_owned(),
        sync,
    }
}

fn open_for(path: &Path, sync: Sync, bucket: &str, owner: u64) -> Result<Store, Failure> {
    Store::open(&location(path, sync), bucket, owner, &|| true)
}

fn open(path: &Path, sync: Sync, bucket: &str) -> Store {
    open_for(path, sync, bucket, 1).unwrap()
}

fn destroy(path: &Path, bucket: &str) -> Result<(), Failure> {
    store::destroy(&location(path, Sync::Always), bucket, 1, &|| true)
}

/// Each key with its value's bytes, and the last revision.
type Has = (BTreeMap<Vec<u8>, Vec<u8>>, u64);

fn contents(store: &Store) -> Result<Has, Failure> {
    let (last, mut all) = (Cell::new(0), BTreeMap::new());
    store.scan(
        |revision| {
            last.set(revision);
            Ok::<(), Failure>(())
        },
        |key, record| {
            let Value::Bytes(bytes) = record.value else {
                panic!("not stored here");
            };
            let before = all.insert(key.to_vec(), bytes.to_vec());
            assert!(before.is_none() && record.revision <= last.get());
            Ok(())
        },
    )?;
    Ok((all, last.get()))
}

fn keys(store: &Store) -> Vec<String> {
    let (all, _) = contents(store).unwrap();
    let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
    all.into_keys().map(text).collect()
}

/// Puts all of these in one write.
fn put_all(store: &Store, keys: &[&str], value: &[u8], revision: u64) -> Result<(), Failure> {
    let mut batch = store.batch(keys.len())?;
    for key in keys {
        let record = Record {
            value: Value::Bytes(value),
            revision,
            expires_ms: -1,
        };
        batch.put(key.as_bytes(), &record)?;
    }
    store.write(batch)
}

fn put(store: &Store, key: &str, revision: u64) -> Result<(), Failure> {
    put_all(store, &[key], key.as_bytes(), revision)
}

/// Until there is room again, which is not looked for in each write.
fn put_patiently(store: &Store, key: &str, revision: u64) {
    let begin = Instant::now();
    while let Err(failure) = put(store, key, revision) {
        assert_eq!(failure.status, abi::LIMIT, "{failure:?}");
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn status<R>(answer: Result<R, Failure>) -> abi::Status {
    answer.map_or_else(|failure| failure.status, |_| abi::OK)
}
