//! Measures kvreg from C, through the shared library, against its peers, all in one run.
//! Prints tables, the aims and what was measured for them, and writes all as JSON. Figures in
//! ns drift with the machine: quote the ratios.
//!
//! `kvreg-bench [section...]`, or [`wide`] with its groups, or [`servers`].

#[path = "../../tests/common/c.rs"]
mod c;
mod keys;
mod kvreg;
mod measure;
mod peers;
mod report;
mod sections;
mod servers;
mod wide;

use report::Report;
use sections::{actors, cache, growth, latency, life, memory, operations, outside, threads};

const LIBRARY: &str = concat!(env!("KVREG_RELEASE"), "/libkvreg.so");
const JSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench.json");

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, what] = &wanted[..] {
        if flag == "--child" {
            return memory::run(what, LIBRARY);
        }
    }
    if wanted.first().is_some_and(|first| first == "wide") {
        return wide::run(&wanted[1..]);
    }
    if wanted.first().is_some_and(|first| first == "servers") {
        return servers::run(&wanted[1..]);
    }
    let is_wanted = |section: &str| wanted.is_empty() || wanted.iter().any(|one| one == section);
    let mut report = Report::default();
    if is_wanted("operations") {
        operations::measure(&mut report);
    }
    if is_wanted("actors") {
        actors::measure(&mut report);
    }
    if is_wanted("threads") {
        threads::measure(&mut report);
    }
    let mut elixir = None;
    if is_wanted("outside") {
        elixir = outside::elixir(&mut report);
        outside::redis(&mut report);
    }
    if is_wanted("life") {
        life::measure(&mut report, elixir.as_ref());
    }
    if is_wanted("latency") {
        latency::measure(&mut report);
    }
    if is_wanted("memory") {
        memory::measure(&mut report, LIBRARY);
    }
    if is_wanted("growth") {
        growth::measure(&mut report);
    }
    if is_wanted("cache") {
        cache::measure(&mut report);
    }
    report.finish(JSON);
}
