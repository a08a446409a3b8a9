//! Those that have a process model of some kind too, and so cost what that costs.

use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::measure::{compare, Entry};
use crate::peers::{Kameo, Map, Ractor, Tokio};
use crate::report::Report;

const VALUE: [u8; 64] = [7; 64];

pub fn measure(report: &mut Report) {
    report.section("Against actors: one thread, 1,000 keys, values of 64 bytes");
    let (many, few) = (Keys::shuffled(1000, 50_000), Keys::shuffled(1000, 1000));
    let peers: [(&str, Box<dyn Map>, &Keys); 4] = [
        ("kvreg", Box::new(Bucket::start()), &many),
        ("kameo, ask in a task", Box::new(Kameo::start()), &few),
        ("ractor, call in a task", Box::new(Ractor::start()), &few),
        (
            "tokio actor, called by a thread",
            Box::new(Tokio::start()),
            &few,
        ),
    ];
    for (_, peer, _) in &peers {
        peer.put(&few, &VALUE);
    }
    let names: Vec<String> = peers.iter().map(|(name, ..)| (*name).into()).collect();
    let gets = peers
        .iter()
        .map(|(name, peer, keys)| Entry::new(name, keys.len(), || _ = peer.get(keys)));
    let times = compare(gets.collect());
    report.times("get", &names, &times);
    let against = |peer: usize| times[peer].median / times[0].median;
    report.at_least("get against kameo's ask", 10.0, against(1), "x faster");
    report.at_least(
        "get against a plain tokio actor",
        100.0,
        against(3),
        "x faster",
    );
    let puts = peers
        .iter()
        .map(|(name, peer, keys)| Entry::new(name, keys.len(), || peer.put(keys, &VALUE)));
    let times = compare(puts.collect());
    report.times("put", &names, &times);
}
