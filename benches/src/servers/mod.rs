//! Servers that programs write, called from C through the shared library, beside what else a
//! program could use for a state that has one owner.
//!
//! `kvreg-bench servers MANY CAF`, with the program that has very many servers, and CAF's.

mod actors;
mod peer;

use std::process::Command;
use std::ptr;

use crate::c::{kvreg_bucket_free, kvreg_bucket_start, Handle};
use crate::kvreg::ok;
use crate::measure::{compare, Entry, Time};
use crate::report::Report;
use actors::{Kameo, Ractor};
use peer::Peer;

const JSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-servers.json");

/// Calls of a round: short ways, those by way of a task, and those by way of a thread.
const MANY: usize = 100_000;
const SOME: usize = 10_000;
const FEW: usize = 500;

const HAND_OVER: u32 = 2;

extern "C" {
    fn servers_start(flags: u32, server: *mut Handle) -> i32;
    fn servers_start_served(server: *mut Handle) -> i32;
    fn servers_stop_served() -> i32;
    fn servers_call(server: Handle, count: usize) -> u64;
    fn servers_cast(server: Handle, count: usize) -> u64;
    fn servers_cast_then_call(server: Handle, count: usize) -> u64;
    fn servers_begin(server: Handle, count: usize) -> u64;
    fn servers_lock(count: usize) -> u64;
    fn servers_put(bucket: Handle, count: usize) -> u64;
    fn servers_update(bucket: Handle, count: usize) -> u64;
    fn kvreg_server_free(server: Handle) -> i32;
}

/// One way, on one handle.
type Loop = unsafe extern "C" fn(Handle, usize) -> u64;

struct Server(Handle);

// SAFETY of all below: handles are freed by `Drop` only, and the loops take those of their kind.
impl Server {
    fn start(flags: u32) -> Server {
        let mut server = ptr::null_mut();
        ok(unsafe { servers_start(flags, &mut server) });
        Server(server)
    }

    /// By turns, with a thread that serves it.
    fn served() -> Server {
        let mut server = ptr::null_mut();
        ok(unsafe { servers_start_served(&mut server) });
        Server(server)
    }

    fn entry(&self, name: &str, count: usize, each: Loop) -> Entry<'static> {
        entry(name, count, self.0, each)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        ok(unsafe { kvreg_server_free(self.0) });
    }
}

struct Bucket(Handle);

impl Bucket {
    fn start() -> Bucket {
        let mut bucket = ptr::null_mut();
        ok(unsafe { kvreg_bucket_start(&mut bucket) });
        Bucket(bucket)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        ok(unsafe { kvreg_bucket_free(self.0) });
    }
}

fn entry(name: &str, count: usize, handle: Handle, each: Loop) -> Entry<'static> {
    Entry::new(name, count, move || {
        assert_eq!(unsafe { each(handle, count) }, 0, "calls failed");
    })
}

unsafe extern "C" fn lock(_: Handle, count: usize) -> u64 {
    unsafe { servers_lock(count) }
}

/// Times of some who take turns, by their names.
struct Times(Vec<(String, Time)>);

impl Times {
    fn of(report: &mut Report, what: &str, entries: Vec<Entry<'_>>) -> Times {
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let times = compare(entries);
        report.times(what, &names, &times);
        Times(names.into_iter().zip(times).collect())
    }

    fn get(&self, name: &str) -> Option<f64> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, time)| time.median)
    }

    /// The first against another, if that was there.
    fn against(&self, name: &str) -> Option<f64> {
        Some(self.0[0].1.median / self.get(name)?)
    }
}

fn of_peer<'a>(
    peer: &'a mut Option<Peer>,
    name: &str,
    count: usize,
    what: &'a str,
) -> Option<Entry<'a>> {
    let peer = peer.as_mut()?;
    Some(Entry::new(name, count, move || {
        _ = peer.round(what, count);
    }))
}

fn calls(report: &mut Report, elixir: &mut Option<Peer>, caf: &mut Option<Peer>) {
    let (server, bucket) = (Server::start(0), Bucket::start());
    let (kameo, ractor) = (Kameo::start(), Ractor::start());
    let mut entries = vec![
        server.entry("a call by callbacks", MANY, servers_call),
        entry("put of a number", MANY, bucket.0, servers_put),
        entry("a mutex and a function", MANY, ptr::null_mut(), lock),
        Entry::new("kameo, ask in a task", SOME, || kameo.ask(SOME)),
        Entry::new("ractor, call in a task", SOME, || ractor.call(SOME)),
    ];
    entries.extend(of_peer(elixir, "GenServer.call", SOME, "call"));
    entries.extend(of_peer(caf, "CAF, request", FEW, "call"));
    let times = Times::of(report, "a call: a tag, a number, and the answer", entries);
    let aims = [
        ("a call by callbacks against put", "put of a number", 1.5),
        (
            "a call by callbacks against a mutex and a function",
            "a mutex and a function",
            6.0,
        ),
    ];
    for (what, peer, limit) in aims {
        report.at_most(what, limit, times.against(peer).expect("it is there"), "x");
    }
    if let Some(ratio) = times.against("GenServer.call") {
        report.at_least(
            "a call by callbacks against GenServer.call",
            20.0,
            1.0 / ratio,
            "x faster",
        );
    }
}

fn turns(report: &mut Report) {
    let (server, bucket) = (Server::served(), Bucket::start());
    let entries = vec![
        server.entry("begin and end of a turn", MANY, servers_begin),
        entry(
            "update_begin and update_end",
            MANY,
            bucket.0,
            servers_update,
        ),
    ];
    let times = Times::of(report, "the owner's own call, by turns", entries);
    let ratio = times
        .against("update_begin and update_end")
        .expect("it is there");
    // 0.35 was of an update_begin that has become as short since.
    report.at_most(
        "begin and end against update_begin and _end",
        0.35,
        ratio,
        "x",
    );
    ok(unsafe { servers_stop_served() });
}

fn threads(report: &mut Report, elixir: &mut Option<Peer>) {
    let (server, handing) = (Server::served(), Server::start(HAND_OVER));
    let mut entries = vec![
        server.entry("a call served by the program's thread", FEW, servers_call),
        handing.entry("a call that is handed over", FEW, servers_call),
    ];
    entries.extend(of_peer(elixir, "GenServer.call", SOME, "call"));
    let times = Times::of(report, "a call that another thread handles", entries);
    if let Some(ratio) = times.against("GenServer.call") {
        report.at_most(
            "a call served by a thread against GenServer.call",
            6.0,
            ratio,
            "x",
        );
    }
    ok(unsafe { servers_stop_served() });
}

fn casts(report: &mut Report, elixir: &mut Option<Peer>, caf: &mut Option<Peer>) {
    let server = Server::start(0);
    let mut entries = vec![server.entry("a cast, then a call", FEW, servers_cast_then_call)];
    entries.extend(of_peer(
        elixir,
        "GenServer.cast and call",
        SOME,
        "cast-then-call",
    ));
    entries.extend(of_peer(caf, "CAF, send and request", FEW, "cast-then-call"));
    let times = Times::of(report, "a cast, and a call that sees it", entries);
    let own = times.get("a cast, then a call").expect("it is there");
    report.at_most("a cast, then a call", 200.0, own, "ns");
    let mut entries = vec![server.entry("a cast", SOME, servers_cast)];
    entries.extend(of_peer(elixir, "GenServer.cast", SOME, "cast"));
    Times::of(report, "casts, and that the last was handled", entries);
}

/// Of very many at rest, by the program that the tests have for that.
fn many(report: &mut Report, program: &str, elixir: &mut Option<Peer>) {
    let count = 1_000_000;
    let run = Command::new(program).arg(count.to_string()).output();
    let output = run.expect("make target/c/stress_many_servers");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for line in text.lines() {
        let Some((what, figure)) = line.rsplit_once(": ") else {
            continue;
        };
        let Some((figure, unit)) = figure.split_once(' ') else {
            continue;
        };
        let figure: f64 = figure.parse().expect("a number");
        report.figure(what, figure, unit);
        if what.ends_with("by callbacks, memory of one") {
            report.at_most(
                "memory of a server at rest, by callbacks",
                512.0,
                figure,
                "bytes",
            );
        }
    }
    if let Some(elixir) = elixir {
        let figures = elixir.round("many", 100_000);
        let named = [
            "memory of one",
            "to start one",
            "to call one",
            "to stop one",
        ];
        for ((what, unit), figure) in named.iter().zip(["bytes", "ns", "ns", "ns"]).zip(figures) {
            report.figure(&format!("100000 GenServers, {what}"), figure, unit);
        }
    }
}

pub fn run(arguments: &[String]) {
    let [program, caf] = arguments else {
        panic!("kvreg-bench servers MANY CAF");
    };
    let mut report = Report::default();
    report.section("Servers that programs write, from C");
    let (mut elixir, mut caf) = (Peer::elixir(), Peer::caf(caf));
    calls(&mut report, &mut elixir, &mut caf);
    turns(&mut report);
    threads(&mut report, &mut elixir);
    casts(&mut report, &mut elixir, &mut caf);
    report.section("Very many of them");
    many(&mut report, program, &mut elixir);
    report.finish(JSON);
}
