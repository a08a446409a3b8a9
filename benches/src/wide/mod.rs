//! The wide measurement: kvreg, through the shared library, beside the best that does the same
//! work. Each row is a ratio of two figures of one run, in rounds that take turns.
//!
//! `kvreg-bench wide [group...]`

mod calls;
mod casts;
mod clock;
mod costs;
mod curves;
mod downs;
mod pauses;
mod rows;
mod scaling;
mod sizes;
mod updates;
mod ycsb;

pub use costs::memory_of;

use rows::Rows;

const JSON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench-wide.json");

type Group = (&'static str, fn(&mut Rows));

const GROUPS: [Group; 9] = [
    ("sizes", sizes::measure),
    ("updates", updates::measure),
    ("scaling", scaling::measure),
    ("casts", casts::measure),
    ("costs", costs::measure),
    ("downs", downs::measure),
    ("curves", curves::measure),
    ("ycsb", ycsb::measure),
    ("pauses", pauses::measure),
];

/// Measures the groups of these names; all, where none is named.
pub fn run(wanted: &[String]) {
    let names = GROUPS.map(|(name, _)| name);
    if let Some(unknown) = wanted.iter().find(|one| !names.contains(&one.as_str())) {
        eprintln!("no such group: {unknown}; there are {}", names.join(", "));
        std::process::exit(2);
    }
    let mut rows = Rows::default();
    for (name, measure) in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            rows.begin(name);
            measure(&mut rows);
        }
    }
    rows.finish(JSON);
}
