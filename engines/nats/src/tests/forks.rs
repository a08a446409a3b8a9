//! A child of a fork: it has none of the parent's stores, and may have its own.

use super::*;

/// Runs `work` in a child, and answers whether it was so.
fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child does what kvreg does in one, and ends without the test's runner.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_so = crate::panics::contain(work).unwrap_or(false);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!is_so)) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    waited == child && status == 0
}

#[test]
fn a_child_has_stores_of_its_own() {
    let server = Server::start();
    let url = server.url();
    let bucket = Bucket::open(&url, "fork");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    bucket.put("before", Value::Nil);
    let is_right = in_child(|| {
        // SAFETY: in a child of a fork.
        unsafe { engine().forked.unwrap()() };
        let mine = Bucket::open(&url, "fork");
        mine.put("child", Value::Int(1));
        mine.keys(b"", None) == ["before", "child"]
    });
    assert!(is_right);
    bucket.put("after", Value::Nil);
    watch
        .told
        .expect(&["1 before = nil", "2 child = int 1", "3 after = nil"]);
    assert!(bucket.listener.is_silent());
}

#[test]
fn descriptors_are_closed_when_a_child_executes() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "exec");
    bucket.put("k", Value::Nil);
    let listing = std::process::Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(listing.status.success());
    assert!(
        !text.contains("socket:") && !text.contains("eventpoll"),
        "{text}"
    );
}
