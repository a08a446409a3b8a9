//! One thread, one bucket.

use std::sync::Arc;

use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::measure::{compare, Entry, Time};
#[cfg(has_glib)]
use crate::peers::Glib;
use crate::peers::{Dash, Delete, Locked, Map, Papaya, Rust};
use crate::report::Report;

const DISTINCT: usize = 1000;
const COUNT: usize = 50_000;
const VALUE: [u8; 64] = [7; 64];

type Maps = Vec<(&'static str, Arc<dyn Map>)>;

/// Of those that are measured when keys come and go.
type Deleting = [(&'static str, Arc<dyn Delete>); 5];

fn deleting() -> Deleting {
    [
        ("kvreg", Arc::new(Bucket::start())),
        ("DashMap", Arc::new(Dash::default())),
        ("papaya", Arc::new(Papaya::default())),
        ("Mutex<HashMap>", Arc::new(Locked::default())),
        ("kvreg, from Rust", Arc::new(Rust::start())),
    ]
}

fn maps(deleting: &Deleting) -> Maps {
    let as_map = |(name, map): &(&'static str, Arc<dyn Delete>)| (*name, Arc::clone(map) as _);
    #[cfg_attr(not(has_glib), allow(unused_mut))]
    let mut maps: Maps = deleting.iter().map(as_map).collect();
    #[cfg(has_glib)]
    maps.push(("GHashTable with GMutex, from C", Arc::new(Glib::new())));
    maps
}

fn run(report: &mut Report, what: &str, entries: Vec<Entry<'_>>) -> Vec<Time> {
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let times = compare(entries);
    report.times(what, &names, &times);
    times
}

/// kvreg's time as a multiple of DashMap's, which comes second.
fn against_dash(times: &[Time]) -> f64 {
    times[0].median / times[1].median
}

pub fn measure(report: &mut Report) {
    report.section("One thread, one bucket of 1,000 keys, values of 64 bytes");
    let keys = Keys::shuffled(DISTINCT, COUNT);
    let deleting = deleting();
    let maps = maps(&deleting);
    for (_, map) in &maps {
        map.put(&keys, &VALUE);
    }
    let entries = |work: fn(&dyn Map, &Keys)| -> Vec<Entry<'_>> {
        let entry = |(name, map): &(&'static str, Arc<dyn Map>)| {
            let (map, keys) = (Arc::clone(map), &keys);
            Entry::new(name, COUNT, move || work(&*map, keys))
        };
        maps.iter().map(entry).collect()
    };
    let get = run(report, "get", entries(|map, keys| _ = map.get(keys)));
    report.at_most("get of 64 B against DashMap", 1.0, against_dash(&get), "x");
    let two: Vec<_> = entries(|map, keys| _ = map.get_into(keys))
        .into_iter()
        .take(2)
        .collect();
    run(report, "get into a buffer", two);
    let put = run(
        report,
        "put over an existing key",
        entries(|map, keys| map.put(keys, &VALUE)),
    );
    report.at_most(
        "put of 64 B over an existing key against DashMap",
        1.0,
        against_dash(&put),
        "x",
    );
    new_keys(report, &deleting);
    casts_and_updates(report, &keys);
    sizes(report);
}

/// Beside keys that stay, so that no table grows or shrinks.
fn new_keys(report: &mut Report, maps: &Deleting) {
    let others = Keys::numbered(1_000_000..1_000_000 + 8 * DISTINCT);
    let keys = Keys::numbered(500_000..500_000 + DISTINCT);
    for (_, map) in maps {
        map.put(&others, &VALUE);
    }
    let puts = maps.iter().map(|(name, map)| {
        Entry::new(name, DISTINCT, || map.put(&keys, &VALUE)).preparing(|| {
            map.put(&keys, &VALUE);
            map.delete(&keys);
        })
    });
    let put = run(report, "put of a new key", puts.collect());
    report.at_most(
        "put of a new key against DashMap",
        1.3,
        against_dash(&put),
        "x",
    );
    let deletes = maps.iter().map(|(name, map)| {
        Entry::new(name, DISTINCT, || map.delete(&keys)).preparing(|| map.put(&keys, &VALUE))
    });
    let delete = run(report, "delete", deletes.collect());
    report.at_most("delete against DashMap", 1.3, against_dash(&delete), "x");
}

fn casts_and_updates(report: &mut Report, keys: &Keys) {
    let (bucket, counters) = (Bucket::start(), Bucket::start());
    bucket.put(keys, &VALUE);
    let times = run(
        report,
        "kvreg's own",
        vec![
            Entry::new("put", COUNT, || bucket.put(keys, &VALUE)),
            Entry::new("put_cast, until it was handled", COUNT, || {
                bucket.put_cast(keys, &VALUE)
            }),
            Entry::new("update by a callback", COUNT, || counters.update(keys)),
        ],
    );
    let ratio = times[1].median / times[0].median;
    report.at_most("cast put, handled, against put", 2.0, ratio, "x");
}

fn sizes(report: &mut Report) {
    report.section("Values by size: kvreg's get and put, ns");
    const SIZES: [usize; 8] = [0, 8, 64, 512, 4 << 10, 64 << 10, 1 << 20, 16 << 20];
    let keys = Keys::shuffled(4, 2000);
    let of = |size: usize| Keys::shuffled(4, if size > 4 << 10 { 8 } else { 2000 });
    let buckets: Vec<Bucket> = SIZES.iter().map(|_| Bucket::start()).collect();
    let mut gets = Vec::new();
    let mut puts = Vec::new();
    for (size, bucket) in SIZES.iter().zip(&buckets) {
        let value = vec![7; *size];
        let few = of(*size);
        bucket.put(&few, &value);
        gets.push(Entry::new(
            &format!("get of {size} bytes"),
            keys.len(),
            || _ = bucket.get(&keys),
        ));
        puts.push(Entry::new(
            &format!("put of {size} bytes"),
            few.len(),
            move || bucket.put(&few, &value),
        ));
    }
    let times = run(report, "get", gets);
    report.at_most(
        "get of 16 MiB against get of 64 B",
        2.0,
        times[7].median / times[2].median,
        "x",
    );
    run(report, "put", puts);
}
