//! Rounds of histories of one kind, and whether each has an order.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kvreg::{BucketOptions, OnFull, Order, RegistryOptions, Restart};

use super::calls::{Bucket, Registry};
use super::clock;
use super::play::{Kind, Player, Random, NAMES, OWN};
use super::search::{order_of, Cast, Found, Handle, History, Step, Taken, Thread, FIRST, THREADS};

/// The moment of what is looked at when all is over.
const LAST: u64 = u64::MAX - 1;

/// Threads that wait for each other without sleeping, so that they begin at the same moment.
struct Gate {
    threads: usize,
    arrived: AtomicUsize,
}

impl Gate {
    fn pass(&self, times: usize) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let mut patience = 0;
        while self.arrived.load(Ordering::SeqCst) < self.threads * times {
            patience += 1;
            if patience % 200 == 0 {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// What the name finds when all is over.
fn end_of(
    (started, registry): (&kvreg::Registry, &Registry),
    name: &str,
    kind: Kind,
    before: &[Thread],
) -> Thread {
    let handle = (1 + THREADS * OWN) as Handle;
    let clock = clock::now();
    let taken = |step, handle| Taken {
        step,
        by: "at the end",
        handle,
        call: LAST,
        answer: LAST,
        clock: (clock, clock),
        casts: 0,
    };
    let mut steps = Vec::new();
    // It went on in the histories that came after this one.
    let shown = before.iter().flat_map(|thread| &thread.steps);
    let last = shown.map(|taken| taken.clock.1).max().unwrap_or(clock);
    let advance = taken(Step::Advance(last, clock), FIRST);
    steps.push(Taken {
        clock: (last, last),
        ..advance
    });
    match registry.lookup(name) {
        Err(_) => steps.push(taken(Step::FindsNothing, FIRST)),
        Ok(bucket) => {
            steps.push(taken(Step::Finds(handle), FIRST));
            let (words, count) = bucket.items(&NAMES).expect("it lives");
            let words = words.into_iter().enumerate().collect();
            steps.push(taken(Step::Read(words), handle));
            if !kind.timed {
                assert_eq!(bucket.count(), Ok(count), "the count of a bucket at rest");
            }
            if !kind.timed && !kind.crowded {
                steps.push(taken(Step::Count(count), handle));
            }
            if kind.rules.places != 0 {
                let info = started.lookup(name).and_then(|bucket| bucket.info());
                let evicted = info.expect("it lives").evicted;
                steps.push(taken(Step::Evicted(evicted), handle));
            }
        }
    }
    Thread {
        steps,
        casts: Vec::new(),
    }
}

/// The history as a list, by the moments of its calls.
fn told(history: &History) -> String {
    let mut lines = Vec::new();
    for (place, thread) in history.threads.iter().enumerate() {
        for taken in &thread.steps {
            let Taken {
                call,
                answer,
                handle,
                step,
                by,
                casts,
                clock: (from, to),
            } = taken;
            lines.push((*call, format!("{call:>4} to {answer:>4}, {from} to {to} ms, thread {place}, handle {handle}, after {casts} casts, {by}: {step:?}")));
        }
        for cast in &thread.casts {
            let Cast {
                call,
                handle,
                key,
                word,
                steps,
                clock,
            } = cast;
            lines.push((*call, format!("{call:>4}, {clock} ms, cast by thread {place}, handle {handle}, after {steps} steps: key {key} gets {word}")));
        }
    }
    lines.sort_by_key(|(call, _)| *call);
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    lines.join("\n")
}

/// The reads without any one of which there would be an order: one of them saw what never was.
fn suspects(history: &History) -> String {
    let mut suspects = Vec::new();
    for (place, thread) in history.threads.iter().enumerate() {
        for (number, taken) in thread.steps.iter().enumerate() {
            if !matches!(taken.step, Step::Read(_) | Step::Entry(..)) {
                continue;
            }
            let mut without = history.clone();
            without.threads[place].steps[number].step = Step::Read(Vec::new());
            if order_of(&without) == Found::Order {
                let Taken { by, step, .. } = taken;
                suspects.push(format!("thread {place}, {by}: {step:?}"));
            }
        }
    }
    match suspects.is_empty() {
        true => "not for the sake of one read".into(),
        false => format!("but for one of: {}", suspects.join("; ")),
    }
}

/// When all times are over, nothing is left of the keys that had one.
fn all_go(registry: &kvreg::Registry, names: &[String]) {
    clock::advance(1 << 20);
    for bucket in names.iter().filter_map(|name| registry.lookup(name).ok()) {
        let bucket = bucket.with_timeout(kvreg::Timeout::Never);
        // The sweeper is woken by who finds that it is late.
        while bucket.count().expect("it lives") != bucket.items().expect("it lives").len() {
            let long = std::time::Duration::from_secs(1 << 20);
            bucket.put_for("late", 1, long).expect("it lives");
            std::thread::yield_now();
        }
    }
}

/// What a round was: histories, and those about which nothing can be said.
#[derive(Debug, Default)]
pub struct Tally {
    pub histories: usize,
    pub unknown: usize,
}

/// Plays so many histories of one kind, which the seed says, and looks for an order of each.
pub fn round(seed: u64, histories: usize) -> Result<Tally, String> {
    static ROUNDS: AtomicUsize = AtomicUsize::new(0);
    let mut random = Random::new(seed);
    let kind = Kind::by(&mut random);
    let number = ROUNDS.fetch_add(1, Ordering::Relaxed);
    let place = format!("histories {number}");
    let options = if kind.restarts {
        let often = std::time::Duration::from_secs(5);
        BucketOptions::new()
            .restart(Restart::Permanent)
            .intensity(1_000_000, often)
    } else {
        BucketOptions::new()
    };
    let order = match random.draw() % 2 == 0 {
        true => Order::Ordered,
        false => Order::Unordered,
    };
    let mut options = options.order(order);
    if kind.rules.places != 0 {
        options = options.max_keys(kind.rules.places).on_full(OnFull::Evict);
    }
    if kind.rules.default_ttl != 0 {
        options = options.default_ttl(std::time::Duration::from_millis(kind.rules.default_ttl));
    }
    if kind.timed {
        clock::stop();
    }
    let started = kvreg::Registry::start_with(RegistryOptions::new().name(&*place).bucket(options));
    let started = started.expect("the name is free");
    let registry = Registry::find(&place);
    let names: Vec<String> = (0..histories)
        .map(|number| format!("bucket {number}"))
        .collect();
    let buckets: Vec<Bucket> = names
        .iter()
        .map(|name| registry.create(name).unwrap())
        .collect();
    let gate = Gate {
        threads: kind.threads,
        arrived: AtomicUsize::new(0),
    };
    let clock = AtomicU64::new(0);
    let play = |place: usize, seed: u64| {
        let mut random = Random::new(seed);
        let mut records = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let mut player = Player {
                kind,
                place,
                random: Random::new(random.draw()),
                registry: &registry,
                name,
                first: Some(&buckets[number]),
                own: Vec::new(),
                handle: FIRST,
                clock: &clock,
                writes: 0,
                seen: Vec::new(),
                record: Thread::default(),
            };
            gate.pass(number + 1);
            let played = catch_unwind(AssertUnwindSafe(|| player.play()));
            records.push(played.map(|()| player.record).map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                text.unwrap_or_else(|| "a panic".into())
            }));
        }
        records
    };
    let mut threads: Vec<_> = std::thread::scope(|scope| {
        let start = |place| {
            let (seed, play) = (random.draw(), &play);
            scope.spawn(move || play(place, seed))
        };
        let threads: Vec<_> = (0..kind.threads).map(start).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("it is caught");
        threads.into_iter().map(join).map(Vec::into_iter).collect()
    });
    let mut tally = Tally::default();
    for name in &names {
        let records: Result<Vec<Thread>, String> = threads
            .iter_mut()
            .map(|records| records.next().expect("a record"))
            .collect();
        let mut threads = records.map_err(|fault| format!("seed {seed}, {kind:?}: {fault}"))?;
        let end = end_of((&started, &registry), name, kind, &threads);
        threads.push(end);
        let history = History {
            threads,
            restarts: kind.restarts,
            rules: kind.rules,
        };
        tally.histories += 1;
        match order_of(&history) {
            Found::Order => {}
            Found::Unknown => tally.unknown += 1,
            Found::None => {
                let (told, suspects) = (told(&history), suspects(&history));
                return Err(format!(
                    "seed {seed}: not linearizable {suspects}, {kind:?}\n{told}"
                ));
            }
        }
    }
    if kind.timed {
        all_go(&started, &names);
    }
    drop(buckets);
    started
        .stop()
        .map_err(|error| format!("seed {seed}: a stop was answered {error}"))?;
    Ok(tally)
}
