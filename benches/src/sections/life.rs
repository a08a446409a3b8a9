//! From a bucket's creation to its DOWN.

use crate::keys::Keys;
use crate::kvreg::{Inbox, Registry};
use crate::measure::{compare, Entry};
use crate::peers::{Dash, Map};
use crate::report::Report;

/// What Elixir needs for the same, in ns, if it was measured.
pub struct Elixir {
    pub life: f64,
    pub down: f64,
}

pub fn measure(report: &mut Report, elixir: Option<&Elixir>) {
    const COUNT: usize = 20_000;
    report.section("Buckets: looked up, created, stopped, monitored");
    let (registry, inbox, map) = (Registry::start(), Inbox::open(), Dash::default());
    let all = Keys::numbered(0..1000);
    let names = Keys::shuffled(1000, COUNT);
    let new = Keys::numbered(1_000_000..1_000_000 + COUNT);
    registry.create(&all);
    map.put(&all, &[7; 64]);
    let entries = vec![
        Entry::new("lookup and free", COUNT, || registry.lookup(&names)),
        Entry::new("DashMap get", COUNT, || _ = map.get(&names)),
        Entry::new("create, look up, stop", COUNT, || registry.life(&new)),
        Entry::new("start, monitor, stop, DOWN", COUNT, || inbox.down(COUNT)),
    ];
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let times = compare(entries);
    report.times("life", &names, &times);
    let ratio = times[0].median / times[1].median;
    report.at_most("lookup + free against DashMap get", 3.0, ratio, "x");
    if let Some(elixir) = elixir {
        let faster = elixir.life / times[2].median;
        report.at_least(
            "create + lookup + stop against Elixir",
            10.0,
            faster,
            "x faster",
        );
        let ratio = times[3].median / elixir.down;
        report.at_most("monitor + stop + DOWN against Elixir", 1.5, ratio, "x");
    }
}
