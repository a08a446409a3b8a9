use std::time::Duration;

use super::*;

#[test]
fn what_is_stored_is_there_again() {
    let folder = Folder::new();
    let path = folder.at("db");
    let long = vec![7; 300_000];
    let store = open(&path, Sync::Always, "b");
    assert_eq!(contents(&store).unwrap(), (BTreeMap::new(), 0));
    put(&store, "", 1).unwrap();
    put(&store, &"k".repeat(65_536), 2).unwrap();
    put_all(&store, &["long"], &long, 3).unwrap();
    let mut batch = store.batch(1).unwrap();
    batch.delete(b"", 4).unwrap();
    batch.delete(b"none", 4).unwrap();
    store.write(batch).unwrap();
    let before = contents(&store).unwrap();
    assert_eq!((before.0.len(), before.1), (2, 4));
    assert_eq!(before.0[&b"long"[..]], long);
    drop(store);
    let store = open(&path, Sync::Always, "b");
    assert_eq!(contents(&store).unwrap(), before);
    let mut batch = store.batch(1).unwrap();
    batch.clear(9).unwrap();
    store.write(batch).unwrap();
    drop(store);
    let store = open(&path, Sync::Always, "b");
    assert_eq!(contents(&store).unwrap(), (BTreeMap::new(), 9));
}

#[test]
fn a_clear_is_where_it_is_within_a_write() {
    let folder = Folder::new();
    let store = open(&folder.at("db"), Sync::Always, "b");
    put_all(&store, &["a", "b"], b"old", 1).unwrap();
    let record = Record {
        value: Value::Bytes(b"new"),
        revision: 5,
        expires_ms: -1,
    };
    let mut batch = store.batch(1).unwrap();
    batch.put(b"c", &record).unwrap();
    batch.clear(4).unwrap();
    batch.put(b"a", &record).unwrap();
    store.write(batch).unwrap();
    let (all, last) = contents(&store).unwrap();
    assert_eq!(all, BTreeMap::from([(b"a".to_vec(), b"new".to_vec())]));
    assert_eq!(last, 5);
}

#[test]
fn a_file_is_of_one_owner() {
    let folder = Folder::new();
    let path = folder.at("db");
    let one = open_for(&path, Sync::Always, "one", 1).unwrap();
    let other = open_for(&folder.at("./db"), Sync::Always, "other", 1).unwrap();
    let refused = open_for(&path, Sync::Always, "third", 2).err().unwrap();
    assert_eq!(refused.status, abi::IO);
    assert!(refused.text.contains("another registry"));
    put(&one, "a", 1).unwrap();
    put(&other, "b", 1).unwrap();
    drop(one);
    assert_eq!(status(open_for(&path, Sync::Always, "third", 2)), abi::IO);
    assert_eq!(keys(&other), ["b"]);
    drop(other);
    let one = open_for(&path, Sync::Always, "one", 2).unwrap();
    assert_eq!(keys(&one), ["a"]);
}

#[test]
fn many_buckets_write_at_once() {
    let folder = Folder::new();
    let path = folder.at("db");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let sync = [Sync::Always, Sync::Interval][number % 2];
                let bucket = format!("bucket {number}");
                for round in 0..5 {
                    let store = open(path, sync, &bucket);
                    assert_eq!(keys(&store).len(), round * 4);
                    for key in 0..4 {
                        put(&store, &format!("{round}/{key}"), 1).unwrap();
                    }
                }
            });
        }
    });
}

#[test]
fn what_another_has_is_waited_for() {
    let folder = Folder::new();
    let path = folder.at("db");
    drop(open(&path, Sync::Always, "b"));
    let other = std::fs::File::open(&path).unwrap();
    other.lock().unwrap();
    let refused = open_for(&path, Sync::Always, "b", 1).err().unwrap();
    assert_eq!(refused.status, abi::IO);
    assert!(refused.text.contains("another process"));
    assert_eq!(status(destroy(&path, "b")), abi::IO);
    let begin = Instant::now();
    let unlocking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(other);
    });
    let is_late = || begin.elapsed() > PATIENCE;
    let store = Store::open(&location(&path, Sync::Always), "b", 1, &is_late).unwrap();
    put(&store, "a", 1).unwrap();
    unlocking.join().unwrap();
}

#[test]
fn what_is_erased_is_gone() {
    let folder = Folder::new();
    let path = folder.at("db");
    assert_eq!(status(destroy(&path, "b")), abi::NOT_FOUND);
    assert_eq!(status(destroy(&path.join("none"), "b")), abi::NOT_FOUND);
    assert!(!path.exists());
    std::fs::write(&path, b"").unwrap();
    assert_eq!(status(destroy(&path, "b")), abi::NOT_FOUND);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    let other = open(&path, Sync::Always, "other");
    let store = open(&path, Sync::Always, "b");
    put(&store, "a", 7).unwrap();
    put(&other, "c", 1).unwrap();
    drop(store);
    assert_eq!(status(destroy(&path, "none")), abi::NOT_FOUND);
    assert_eq!(status(destroy(&path, "b")), abi::OK);
    assert_eq!(status(destroy(&path, "b")), abi::NOT_FOUND);
    drop(other);
    assert_eq!(status(destroy(&path, "b")), abi::NOT_FOUND);
    let store = open(&path, Sync::Always, "b");
    assert_eq!(contents(&store).unwrap(), (BTreeMap::new(), 0));
    assert_eq!(keys(&open(&path, Sync::Always, "other")), ["c"]);
}

#[test]
fn what_is_no_file_of_kvregs_stays_as_it_is() {
    let folder = Folder::new();
    let path = folder.at("text");
    std::fs::write(&path, b"a text").unwrap();
    assert_eq!(status(open_for(&path, Sync::Always, "b", 1)), abi::IO);
    assert_eq!(std::fs::read(&path).unwrap(), b"a text");
    let path = folder.at("image");
    let mut image = vec![0; 100_000];
    image[50_000] = 1;
    std::fs::write(&path, &image).unwrap();
    assert_eq!(status(open_for(&path, Sync::Always, "b", 1)), abi::IO);
    assert_eq!(std::fs::read(&path).unwrap(), image);
    let path = folder.at("redb");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<u64, u64>::new("b");
    transaction.open_table(table).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = open_for(&path, Sync::Always, "b", 1).err().unwrap();
    assert_eq!(refused.status, abi::IO);
    assert!(
        refused.text.contains("not a file of kvreg's"),
        "{refused:?}"
    );
    let none = folder.at("none").join("db");
    assert_eq!(status(open_for(&none, Sync::Always, "b", 1)), abi::IO);
    assert_eq!(status(open_for(&folder.0, Sync::Always, "b", 1)), abi::IO);
}

#[test]
fn a_file_that_is_half_made_is_made_anew() {
    let folder = Folder::new();
    let path = folder.at("db");
    drop(open(&path, Sync::Always, "b"));
    let mut half = std::fs::read(&path).unwrap();
    // A new file has its header, and the mark at its beginning comes last.
    half[..9].fill(0);
    half.truncate(4096);
    half.resize(70_000, 0);
    for half in [half, vec![0; 70_000], vec![0; 3]] {
        std::fs::write(&path, half).unwrap();
        let store = open(&path, Sync::Always, "b");
        put(&store, "a", 1).unwrap();
        assert_eq!(keys(&store), ["a"]);
    }
}

#[test]
fn a_panic_is_an_answer() {
    crate::panics::install_hook();
    assert_eq!(crate::panics::contain(|| 7), Some(7));
    let answer: Option<u32> = crate::panics::contain(|| panic!("not to be printed"));
    assert_eq!(answer, None);
}
