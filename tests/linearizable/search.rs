//! Whether a history has an order in which a bucket that does one thing at a time would have given
//! the same answers: the search of Wing and Gong, with Lowe's memory of what was tried.
//!
//! It is our own, for two things that the crates which do it (`todc-utils`, `lincheck`,
//! `stateright`) cannot say. A cast has no answer, and still comes before the next call of its
//! thread to the same bucket (G3). An end has several steps with an order of their own: first the
//! name goes, then mail is refused (G5). So a call is a list of steps here, and casts wait beside
//! the calls of their thread.
//!
//! Revisions are known as far as anybody was told them: a write whose value is its own has the
//! revision with which anybody read it, or which its caller was told. Any other has one that fits
//! between those of the changes before and after it, until somebody reads it.
//!
//! Who is given a time to live, or asks for a key that has one, looks at the clock once, at any
//! moment between the call and its step. Moving the clock is a step too, and every call knows what
//! the clock showed before it and after it; so a key is seen by nobody who was called after its
//! time, and by everybody who was answered before it.
//!
//! Where a bucket has few places, a write that brings one key too many may first take others out,
//! each by a step of its own.
//!
//! Nothing is excused: a bucket that ends is part of the state, and who is answered OK was answered
//! by one that lived.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::held::{Contents, Rules, Written};
use super::values;

/// What is stored under a key: [`ABSENT`], or the number of the write it comes from.
pub type Word = u64;
pub const ABSENT: Word = 0;
pub const KEYS: usize = 3;
pub const THREADS: usize = 4;

/// A place for the handle that a lookup or a creation gives; [`FIRST`] is there from the beginning.
pub type Handle = u8;
pub const FIRST: Handle = 0;

/// Where more than these steps were tried, nothing is said.
const PATIENCE: usize = 2_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The values of these keys at one instant.
    Read(Vec<(usize, Word)>),
    /// The values that keys get at one instant.
    Write(Vec<(usize, Word)>),
    /// A value that was seen, and what was stored instead.
    Exchange(usize, Word, Word),
    /// A value, its revision, and what is left of its time; -1: it is there for ever.
    Entry(usize, Word, u64, i64),
    /// What a key got, after it was as asked, and the revision of that change.
    Change(usize, Asked, Word, Ttl, u64),
    /// Several keys at one instant: as `Change` each. What was taken out was there.
    Apply(Vec<(usize, Asked, Word, Ttl, u64)>),
    /// A key that was there got another time to live, and this revision.
    Expire(usize, Ttl, u64),
    /// A key that had this revision was taken out; what was there, if that was told.
    TakesOut(usize, u64, Option<Word>),
    /// The key was there, or not, in another way than asked.
    Conflict(usize, Asked),
    /// What was there is no number.
    NoNumber(usize),
    /// The revision of the bucket's last change.
    Revision(u64),
    Clear,
    Count(usize),
    /// How many keys were taken out to make room for others.
    Evicted(u64),
    /// The clock went on from here to there.
    Advance(u64, u64),
    /// It was there when it was asked.
    Lives,
    /// It had ended, and its name was gone.
    Gone,
    /// The name no longer finds it; where it is restarted, it finds a new one.
    NameGoes,
    Ends,
    /// What the name finds is called by this handle from now on.
    Finds(Handle),
    FindsNothing,
    /// The same, and what is not there is made.
    Makes(Handle),
    /// The name finds nothing from now on. Whom it named ends by `RemovedEnds`.
    Removes,
    RemovedEnds,
}

/// What a change asks of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    /// That it has this revision; 0: that it is absent.
    Revision(u64),
    Value(Word),
}

/// The time to live that a change gives its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// That of the bucket.
    Default,
    Never,
    /// What it had; where it was absent, that of the bucket.
    Keep,
    Millis(u64),
}

impl Step {
    /// The words of one write each, and the revision that somebody was told of it.
    fn told(&self) -> Vec<(Word, u64)> {
        let told = match self {
            Step::Entry(_, word, revision, _) | Step::Change(_, _, word, _, revision) => {
                vec![(*word, *revision)]
            }
            Step::Apply(changes) => {
                let told = changes
                    .iter()
                    .map(|(_, _, word, _, revision)| (*word, *revision));
                told.collect()
            }
            Step::TakesOut(_, revision, Some(word)) => vec![(*word, *revision)],
            _ => Vec::new(),
        };
        let told = told.into_iter();
        told.filter(|(word, _)| values::is_of_one_write(*word))
            .collect()
    }

    /// The keys that it changes, and how many of them are there then.
    fn written(&self) -> Written {
        let all: Vec<(usize, Word)> = match self {
            Step::Write(pairs) => pairs.clone(),
            Step::Exchange(key, _, word) | Step::Change(key, _, word, ..) => vec![(*key, *word)],
            Step::Apply(changes) => {
                let changes = changes.iter();
                changes.map(|(key, _, word, ..)| (*key, *word)).collect()
            }
            _ => Vec::new(),
        };
        Written::of(&all)
    }

    /// The registry is asked, or the clock, which know nothing of what waits at a bucket.
    fn is_of_no_bucket(&self) -> bool {
        matches!(
            self,
            Step::Advance(..)
                | Step::Finds(_)
                | Step::FindsNothing
                | Step::Makes(_)
                | Step::Removes
                | Step::RemovedEnds
        )
    }
}

/// A step of a call, which was taken between two moments.
#[derive(Clone, Debug)]
pub struct Taken {
    pub step: Step,
    /// The call, as it is told of.
    pub by: &'static str,
    pub handle: Handle,
    pub call: u64,
    pub answer: u64,
    /// What the clock of the keys showed then.
    pub clock: (u64, u64),
    /// How many casts this thread had made before.
    pub casts: usize,
}

/// A write without an answer. If the bucket ends first, it is dropped.
#[derive(Clone, Debug)]
pub struct Cast {
    pub handle: Handle,
    pub key: usize,
    pub word: Word,
    pub call: u64,
    /// What the clock of the keys showed then.
    pub clock: u64,
    /// How many steps this thread had taken before.
    pub steps: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Thread {
    pub steps: Vec<Taken>,
    pub casts: Vec<Cast>,
}

#[derive(Clone, Debug)]
pub struct History {
    pub threads: Vec<Thread>,
    /// A bucket that ends is started anew.
    pub restarts: bool,
    pub rules: Rules,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// There is such an order.
    Order,
    None,
    /// It was not found in time.
    Unknown,
}

const NOBODY: u8 = u8::MAX;

/// The revisions of writes, as far as anybody was told them; 0: nobody was.
struct Revisions(HashMap<Word, u64>);

impl Revisions {
    /// `None` if a write has two, or two writes have one.
    fn told_in(history: &History) -> Option<Revisions> {
        let (mut told, mut writes) = (HashMap::new(), HashMap::new());
        let steps = history.threads.iter().flat_map(|thread| &thread.steps);
        let expired = steps.clone().filter_map(|taken| match taken.step {
            Step::Expire(_, _, revision) => Some(revision),
            _ => None,
        });
        let expired: HashSet<u64> = expired.collect();
        for (word, revision) in steps.flat_map(|taken| taken.step.told()) {
            if expired.contains(&revision) {
                continue; // of the change after that write
            }
            let is_right = *told.entry(word).or_insert(revision) == revision
                && *writes.entry(revision).or_insert(word) == word;
            if !is_right {
                return None;
            }
        }
        Some(Revisions(told))
    }

    fn of(&self, word: Word) -> u64 {
        self.0.get(&word).copied().unwrap_or(0)
    }
}

/// Buckets are numbered as they are made.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    named: u8,
    lives: u64,
    contents: Vec<Contents>,
    /// Which bucket a handle is one to.
    handles: Vec<u8>,
    removing: [u8; THREADS + 1],
    clock: u64,
}

impl State {
    fn begin(handles: usize, clock: u64) -> State {
        let mut state = State {
            named: NOBODY,
            lives: 0,
            contents: Vec::new(),
            handles: vec![NOBODY; handles],
            removing: [NOBODY; THREADS + 1],
            clock,
        };
        state.named = state.make();
        state.handles[usize::from(FIRST)] = state.named;
        state
    }

    /// Its revisions are larger than all of before, whoever had them.
    fn make(&mut self) -> u8 {
        let bucket = self.contents.len();
        let known = self.contents.iter().map(Contents::revision);
        self.contents
            .push(Contents::after(known.max().unwrap_or(0)));
        self.lives |= 1 << bucket;
        bucket as u8
    }

    fn lives(&self, bucket: u8) -> bool {
        self.lives >> bucket & 1 == 1
    }

    fn end(&mut self, bucket: u8) {
        self.lives &= !(1 << bucket);
    }

    /// The contents of the bucket, if it lives.
    fn of(&mut self, handle: Handle) -> Option<&mut Contents> {
        let bucket = self.handles[usize::from(handle)];
        let lives = bucket != NOBODY && self.lives(bucket);
        lives.then(|| &mut self.contents[usize::from(bucket)])
    }

    /// Takes a step, if the answer would have been this one to who looked at the clock then.
    fn take(
        &mut self,
        thread: usize,
        taken: &Taken,
        looked: u64,
        revisions: &Revisions,
        (restarts, rules): (bool, Rules),
    ) -> bool {
        let now = self.clock;
        if now < taken.clock.0 || now > taken.clock.1 {
            return false;
        }
        let has_room = |held: &Contents| held.has_room_for(&taken.step.written(), now, rules);
        let bucket = self.handles[usize::from(taken.handle)];
        match &taken.step {
            Step::Advance(from, to) => {
                self.clock = *to;
                now == *from
            }
            Step::Read(seen) => self.of(taken.handle).is_some_and(|held| {
                let mut seen = seen.iter();
                seen.all(|(key, word)| held.holds(*key, *word, looked))
            }),
            Step::Write(pairs) => self.of(taken.handle).is_some_and(|held| {
                let mut pairs = pairs.iter();
                has_room(held)
                    && pairs.all(|(key, word)| {
                        let deadline = held.deadline(*key, Ttl::Default, looked, rules);
                        held.set(*key, *word, revisions.of(*word), deadline)
                    })
            }),
            Step::Exchange(key, seen, next) => self.of(taken.handle).is_some_and(|held| {
                let deadline = held.deadline(*key, Ttl::Keep, looked, rules);
                held.holds(*key, *seen, looked)
                    && has_room(held)
                    && held.set(*key, *next, revisions.of(*next), deadline)
            }),
            Step::Entry(key, word, revision, left) => self.of(taken.handle).is_some_and(|held| {
                held.holds(*key, *word, looked)
                    && *revision != 0
                    && held.has_revision(*key, *revision, looked)
                    && held.has_left(*key, *left, looked)
            }),
            Step::Change(key, asked, word, ttl, revision) => {
                self.of(taken.handle).is_some_and(|held| {
                    if !held.is_as(*key, *asked, looked) || !has_room(held) {
                        return false;
                    }
                    // Where absent stays absent there is no change.
                    let changes = *word != ABSENT || !held.holds(*key, ABSENT, looked);
                    let deadline = held.deadline(*key, *ttl, looked, rules);
                    changes == (*revision != 0)
                        && (!changes || held.set(*key, *word, *revision, deadline))
                })
            }
            Step::Apply(changes) => self.of(taken.handle).is_some_and(|held| {
                let mut changes = changes.iter();
                has_room(held)
                    && changes.all(|(key, asked, word, ttl, revision)| {
                        let deadline = held.deadline(*key, *ttl, looked, rules);
                        held.is_as(*key, *asked, looked)
                            && !(*word == ABSENT && held.holds(*key, ABSENT, looked))
                            && *revision != 0
                            && held.set(*key, *word, *revision, deadline)
                    })
            }),
            Step::Expire(key, ttl, revision) => self.of(taken.handle).is_some_and(|held| {
                let deadline = held.deadline(*key, *ttl, looked, rules);
                held.expire(*key, deadline, *revision, looked)
            }),
            Step::TakesOut(key, revision, old) => self.of(taken.handle).is_some_and(|held| {
                old.is_none_or(|word| held.holds(*key, word, looked))
                    && held.has_revision(*key, *revision, looked)
                    && held.set(*key, ABSENT, 0, 0)
            }),
            Step::Conflict(key, asked) => self
                .of(taken.handle)
                .is_some_and(|held| held.may_differ(*key, *asked, looked)),
            Step::NoNumber(key) => self.of(taken.handle).is_some_and(|held| {
                let word = held.word(*key, looked);
                word != ABSENT && !values::is_int(word)
            }),
            // Changes of keys that nobody writes down have revisions too.
            Step::Revision(revision) => self.of(taken.handle).is_some_and(|held| {
                let is_none = *revision == 0 && held.is_untouched();
                is_none || held.reaches(*revision, *revision + 1)
            }),
            Step::Clear => self.of(taken.handle).map(Contents::clear).is_some(),
            Step::Count(count) => self
                .of(taken.handle)
                .is_some_and(|held| held.count() == *count),
            Step::Evicted(count) => self
                .of(taken.handle)
                .is_some_and(|held| held.evicted() == *count),
            Step::Lives => self.lives(bucket),
            Step::Gone => !self.lives(bucket) && self.named != bucket,
            Step::NameGoes => {
                if self.named == bucket {
                    self.named = if restarts { self.make() } else { NOBODY };
                }
                true
            }
            Step::Ends => {
                self.end(bucket);
                true
            }
            Step::Finds(handle) => {
                self.handles[usize::from(*handle)] = self.named;
                self.named != NOBODY
            }
            Step::FindsNothing => self.named == NOBODY,
            Step::Makes(handle) => {
                if self.named == NOBODY {
                    self.named = self.make();
                }
                self.handles[usize::from(*handle)] = self.named;
                true
            }
            Step::Removes => {
                let named = std::mem::replace(&mut self.named, NOBODY);
                self.removing[thread] = named;
                named != NOBODY
            }
            Step::RemovedEnds => {
                let named = std::mem::replace(&mut self.removing[thread], NOBODY);
                self.end(named);
                true
            }
        }
    }
}

/// How far each thread is: its steps, and which of its casts were handled.
type Places = [(u8, u32); THREADS + 1];

struct Search<'a> {
    history: &'a History,
    revisions: Revisions,
    tried: HashSet<(Places, State)>,
    patience: usize,
    /// What the clock showed, one after another.
    clock: Vec<u64>,
}

impl Search<'_> {
    /// What one who was called when the clock showed this may have seen of it until now.
    fn looked(&self, since: u64, now: u64) -> Vec<u64> {
        let shown = |at: u64| self.clock.partition_point(|shown| *shown < at);
        let all = self
            .clock
            .get(shown(since)..=shown(now))
            .unwrap_or_default();
        all.iter().rev().copied().collect()
    }

    /// The states in which a key less is there, so that these find room: casts that wait have
    /// places kept for their keys.
    fn after_evictions(
        &self,
        (state, places): (&State, &Places),
        handle: Handle,
        written: &Written,
    ) -> Vec<State> {
        let threads = self.history.threads.iter().zip(places);
        let waiting = threads.map(|(thread, (_, handled))| {
            let casts = thread.casts.iter().enumerate();
            let waits =
                casts.filter(|(place, cast)| cast.word != ABSENT && handled >> place & 1 == 0);
            waits.count()
        });
        let kept = waiting.sum();
        let mut state = state.clone();
        let (now, rules) = (state.clock, self.history.rules);
        let Some(held) = state.of(handle) else {
            return Vec::new();
        };
        let victims = held.victims(written, kept, now, rules).into_iter();
        let evicted = victims.map(|key| {
            let mut after = state.clone();
            after.of(handle).expect("it lives").evict(key);
            after
        });
        evicted.collect()
    }

    /// Whether casts of this thread, of the first so many, still wait for this bucket.
    fn waits(&self, state: &State, places: &Places, thread: usize, first: usize, to: u8) -> bool {
        let casts = self.history.threads[thread].casts[..first].iter();
        casts.enumerate().any(|(place, cast)| {
            let done = places[thread].1 >> place & 1 == 1;
            !done && state.handles[usize::from(cast.handle)] == to
        })
    }

    fn go(&mut self, state: &State, places: &Places) -> Found {
        let threads = &self.history.threads;
        let next = |thread: usize| threads[thread].steps.get(usize::from(places[thread].0));
        if (0..threads.len()).all(|thread| next(thread).is_none()) {
            return Found::Order; // what casts still wait, nobody asked about
        }
        if self.patience == 0 {
            return Found::Unknown;
        }
        self.patience -= 1;
        if !self.tried.insert((*places, state.clone())) {
            return Found::None;
        }
        // What has been answered comes before what was called later.
        let answers = (0..threads.len()).filter_map(|thread| Some(next(thread)?.answer));
        let first = answers.min().unwrap_or(u64::MAX);
        let mut unknown = false;
        macro_rules! goes_on {
            ($after:expr, $places:expr) => {
                match self.go($after, $places) {
                    Found::Order => return Found::Order,
                    Found::None => {}
                    Found::Unknown => unknown = true,
                }
            };
        }
        for thread in 0..threads.len() {
            let (steps, handled) = places[thread];
            if let Some(taken) = next(thread).filter(|taken| taken.call <= first) {
                let to = state.handles[usize::from(taken.handle)];
                let waits = !taken.step.is_of_no_bucket()
                    && self.waits(state, places, thread, taken.casts, to);
                let history = (self.history.restarts, self.history.rules);
                let looked = self.looked(taken.clock.0, state.clock);
                for looked in looked.into_iter().take_while(|_| !waits) {
                    let mut after = state.clone();
                    if after.take(thread, taken, looked, &self.revisions, history) {
                        let mut places = *places;
                        places[thread].0 += 1;
                        goes_on!(&after, &places);
                    }
                }
                if !waits && history.1.places != 0 {
                    let written = taken.step.written();
                    for after in self.after_evictions((state, places), taken.handle, &written) {
                        goes_on!(&after, places);
                    }
                }
            }
            for (place, cast) in threads[thread].casts.iter().enumerate() {
                let to = state.handles[usize::from(cast.handle)];
                if handled >> place & 1 == 1
                    || usize::from(steps) < cast.steps
                    || cast.call > first
                    || cast.clock > state.clock
                    || self.waits(state, places, thread, place, to)
                {
                    continue;
                }
                let rules = self.history.rules;
                let written = Written::of(&[(cast.key, cast.word)]);
                for looked in self.looked(cast.clock, state.clock) {
                    let (mut after, mut places) = (state.clone(), *places);
                    if let Some(held) = after.of(cast.handle) {
                        let deadline = held.deadline(cast.key, Ttl::Default, looked, rules);
                        let revision = self.revisions.of(cast.word);
                        if !held.has_room_for(&written, state.clock, rules)
                            || !held.set(cast.key, cast.word, revision, deadline)
                        {
                            continue;
                        }
                    }
                    places[thread].1 |= 1 << place;
                    goes_on!(&after, &places);
                }
                if rules.places != 0 {
                    for after in self.after_evictions((state, places), cast.handle, &written) {
                        goes_on!(&after, places);
                    }
                }
            }
        }
        if unknown {
            Found::Unknown
        } else {
            Found::None
        }
    }
}

/// What the clock showed, one after another.
fn clock_of(history: &History) -> Vec<u64> {
    let threads = &history.threads;
    let steps = threads.iter().flat_map(|thread| &thread.steps);
    let moved = steps.clone().filter_map(|taken| match taken.step {
        Step::Advance(from, to) => Some([from, to]),
        _ => None,
    });
    let seen = steps.map(|taken| [taken.clock.0, taken.clock.1]);
    let sent = threads.iter().flat_map(|thread| &thread.casts);
    let all = moved.chain(seen).flatten();
    let all: BTreeSet<u64> = all.chain(sent.map(|cast| cast.clock)).collect();
    all.into_iter().collect()
}

/// Looks for an order of all steps.
pub fn order_of(history: &History) -> Found {
    let steps = history.threads.iter().flat_map(|thread| &thread.steps);
    let given = steps.filter_map(|taken| match taken.step {
        Step::Finds(handle) | Step::Makes(handle) => Some(usize::from(handle)),
        _ => None,
    });
    let handles = given.max().unwrap_or(0) + 1;
    let Some(revisions) = Revisions::told_in(history) else {
        return Found::None;
    };
    let clock = clock_of(history);
    let begin = State::begin(handles, *clock.first().unwrap_or(&0));
    let mut search = Search {
        history,
        revisions,
        tried: HashSet::new(),
        patience: PATIENCE,
        clock,
    };
    search.go(&begin, &Places::default())
}
