//! How scenarios begin, and what they share.

use std::sync::Arc;

use loom::thread::{spawn, JoinHandle};

use crate::error::Error;
use crate::server::{Lasts, Server, Turn};
use crate::subject::{forever, Facts, Subject};

pub(crate) type Counter = Arc<Server<Subject>>;

pub(crate) fn check(scenario: impl Fn() + Sync + Send + 'static) {
    check_bounded(3, scenario);
}

/// So many preemptions, and as many more as KVREG_MODEL_DEEPER says: for `make proof`, which sets
/// LOOM_MAX_DURATION too, as one more takes ten times as long.
pub(crate) fn deeper(preemptions: usize) -> usize {
    let more = std::env::var("KVREG_MODEL_DEEPER").ok();
    let more = more.map_or(0, |text| {
        text.parse().expect("KVREG_MODEL_DEEPER is a number")
    });
    preemptions + more
}

/// For scenarios of many steps, which would take minutes.
pub(crate) fn check_bounded(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    check_no_deeper(deeper(preemptions), scenario);
}

/// For scenarios that would need more threads than the checker has if they had one preemption more.
pub(crate) fn check_no_deeper(preemptions: usize, scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 20_000;
    model.check(scenario);
}

pub(crate) fn facts(server: &Counter) -> Arc<Facts> {
    Arc::clone(&server.state().facts)
}

/// One that was refused did nothing, one that was answered did it once.
pub(crate) fn answered(answer: &Result<u32, Error>) -> u32 {
    match answer {
        Ok(_) => 1,
        Err(Error::NoProcess | Error::ServerDown) => 0,
        Err(other) => panic!("{other:?}"),
    }
}

/// Waits for what no caller waits for; the checker gives up if it never happens.
pub(crate) fn until(happened: impl Fn() -> bool) {
    while !happened() {
        loom::thread::yield_now();
    }
}

/// A server whose turn is taken, as by a callback: what is sent to it waits.
pub(crate) fn occupied() -> (Counter, Turn<Subject>) {
    let server = Subject::start();
    let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
    (server, turn)
}

/// What another thread does with the server.
pub(crate) fn beside<R: 'static>(
    server: &Counter,
    work: impl FnOnce(&Counter) -> R + 'static,
) -> JoinHandle<R> {
    let other = Arc::clone(server);
    spawn(move || work(&other))
}
