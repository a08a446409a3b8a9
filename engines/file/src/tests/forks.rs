//! A child of a fork, and the engine's thread. These look at the whole process, so they are one
//! test.

use super::*;
use crate::calls::ENGINE;
use crate::world::{world, Lease};

/// Whether this process has a thread of this name.
fn has_thread(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|it| std::fs::read_to_string(it.ok()?.path().join("comm")).ok());
    names.into_iter().any(|it| it.trim() == name)
}

/// How many descriptors of this process are of this file.
fn descriptors_of(path: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
    targets.filter(|it| it == path).count()
}

/// Runs `work` in a child of a fork, while another thread has the table of files.
fn in_child(work: impl FnOnce() -> bool) -> bool {
    let held = world().hold_files();
    // SAFETY: the child does what kvreg does in one, and ends without the test's runner.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = crate::panics::contain(work).unwrap_or(false);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!done)) };
    }
    drop(held);
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    waited == child && status == 0
}

#[test]
fn a_child_has_no_file() {
    let folder = Folder::new();
    let (path, own) = (folder.at("db"), folder.at("own"));
    let store = open(&path, Sync::Interval, "b");
    put(&store, "a", 1).unwrap();
    let path = path.canonicalize().unwrap();
    assert_eq!(descriptors_of(&path), 1);
    let begin = Instant::now();
    while !has_thread("kvreg-file") {
        assert!(begin.elapsed() < PATIENCE); // it gives itself its name
    }
    let is_right = in_child(|| {
        // SAFETY: in a child of a fork.
        unsafe { ENGINE.forked.unwrap()() };
        let is_closed = descriptors_of(&path) == 0;
        let is_refused = status(Lease::new(&path, 1, true, &|| true)) == abi::IO;
        // A file of its own it may have, with a thread of its own.
        let mine = open(&own, Sync::Interval, "b");
        put(&mine, "x", 1).unwrap();
        drop(mine);
        is_closed && is_refused && keys(&open(&own, Sync::Always, "b")) == ["x"]
    });
    assert!(is_right);
    assert_eq!(descriptors_of(&path), 1);
    put(&store, "c", 2).unwrap();
    drop(store);
    assert_eq!(descriptors_of(&path), 0);
    assert_eq!(keys(&open(&path, Sync::Always, "b")), ["a", "c"]);
}
