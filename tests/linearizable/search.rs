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
//! Nothing is excused: a bucket that ends is part of the state, and who is answered OK was answered
//! by one that lived.

use std::collections::{HashMap, HashSet};

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
    /// A value and its revision.
    Entry(usize, Word, u64),
    /// What a key got, after it was as asked, and the revision of that change.
    Change(usize, Asked, Word, u64),
    /// Several keys at one instant: as `Change` each. What was taken out was there.
    Apply(Vec<(usize, Asked, Word, u64)>),
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

impl Step {
    /// The words of one write each, and the revision that somebody was told of it.
    fn told(&self) -> Vec<(Word, u64)> {
        let told = match self {
            Step::Entry(_, word, revision) | Step::Change(_, _, word, revision) => {
                vec![(*word, *revision)]
            }
            Step::Apply(changes) => {
                let told = changes
                    .iter()
                    .map(|(_, _, word, revision)| (*word, *revision));
                told.collect()
            }
            Step::TakesOut(_, revision, Some(word)) => vec![(*word, *revision)],
            _ => Vec::new(),
        };
        let told = told.into_iter();
        told.filter(|(word, _)| values::is_of_one_write(*word))
            .collect()
    }

    /// The registry is asked, which knows nothing of what waits at a bucket.
    fn is_of_the_registry(&self) -> bool {
        matches!(
            self,
            Step::Finds(_)
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
        for (word, revision) in steps.flat_map(|taken| taken.step.told()) {
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

/// What is under a key.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Held {
    word: Word,
    /// 0: it is not known, or the key is absent.
    revision: u64,
    /// One that is not known is larger than this,
    after: u64,
    /// and smaller than this; 0: nothing larger is known.
    before: u64,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Contents {
    keys: [Held; KEYS],
    /// The largest that is known.
    revision: u64,
}

impl Contents {
    fn holds(&self, key: usize, word: Word) -> bool {
        self.keys[key].word == word
    }

    /// Stores a word, or takes the key out, if the change may have this revision; 0: nobody knows.
    fn set(&mut self, key: usize, word: Word, revision: u64) -> bool {
        if revision != 0 && !self.rise(revision) {
            return false;
        }
        let is_known = revision != 0 || word == ABSENT;
        self.keys[key] = Held {
            word,
            revision: if word == ABSENT { 0 } else { revision },
            after: if is_known { 0 } else { self.revision },
            before: 0,
        };
        true
    }

    /// A change has this revision, if it may.
    fn rise(&mut self, revision: u64) -> bool {
        revision > self.revision && self.reaches(revision, revision)
    }

    /// All changes until now have revisions up to this one, and those of the keys are below `end`.
    fn reaches(&mut self, revision: u64, end: u64) -> bool {
        if revision < self.revision {
            return false;
        }
        self.revision = revision;
        for held in &mut self.keys {
            if held.word != ABSENT && held.revision == 0 && held.before == 0 {
                held.before = end;
            }
        }
        true
    }

    /// Whether the key has this revision, or may have it: then it has it from now on. 0: absent.
    fn has_revision(&mut self, key: usize, revision: u64) -> bool {
        let held = &mut self.keys[key];
        if held.word == ABSENT || revision == 0 || held.revision != 0 {
            return (held.word == ABSENT) == (revision == 0) && held.revision == revision;
        }
        if revision <= held.after || (held.before != 0 && revision >= held.before) {
            return false;
        }
        *held = Held {
            word: held.word,
            revision,
            ..Held::default()
        };
        self.revision = self.revision.max(revision);
        true
    }

    fn is_as(&mut self, key: usize, asked: Asked) -> bool {
        match asked {
            Asked::Nothing => true,
            Asked::Revision(revision) => self.has_revision(key, revision),
            Asked::Value(word) => self.holds(key, word),
        }
    }

    /// Whether it may be another way than asked.
    fn may_differ(&self, key: usize, asked: Asked) -> bool {
        let held = &self.keys[key];
        match asked {
            Asked::Nothing => false,
            Asked::Revision(0) => held.word != ABSENT,
            Asked::Revision(revision) => held.revision != revision,
            Asked::Value(word) => held.word != word,
        }
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
}

impl State {
    fn begin(handles: usize) -> State {
        let mut state = State {
            named: NOBODY,
            lives: 0,
            contents: Vec::new(),
            handles: vec![NOBODY; handles],
            removing: [NOBODY; THREADS + 1],
        };
        state.named = state.make();
        state.handles[usize::from(FIRST)] = state.named;
        state
    }

    /// Its revisions are larger than all of before, whoever had them.
    fn make(&mut self) -> u8 {
        let bucket = self.contents.len();
        let known = self.contents.iter().map(|contents| contents.revision);
        self.contents.push(Contents {
            revision: known.max().unwrap_or(0),
            ..Contents::default()
        });
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

    /// Takes a step, if the answer would have been this one.
    fn take(
        &mut self,
        thread: usize,
        taken: &Taken,
        revisions: &Revisions,
        restarts: bool,
    ) -> bool {
        let bucket = self.handles[usize::from(taken.handle)];
        match &taken.step {
            Step::Read(seen) => self
                .of(taken.handle)
                .is_some_and(|held| seen.iter().all(|(key, word)| held.holds(*key, *word))),
            Step::Write(pairs) => self.of(taken.handle).is_some_and(|held| {
                let mut pairs = pairs.iter();
                pairs.all(|(key, word)| held.set(*key, *word, revisions.of(*word)))
            }),
            Step::Exchange(key, seen, next) => self.of(taken.handle).is_some_and(|held| {
                held.holds(*key, *seen) && held.set(*key, *next, revisions.of(*next))
            }),
            Step::Entry(key, word, revision) => self.of(taken.handle).is_some_and(|held| {
                held.holds(*key, *word) && *revision != 0 && held.has_revision(*key, *revision)
            }),
            Step::Change(key, asked, word, revision) => {
                self.of(taken.handle).is_some_and(|held| {
                    if !held.is_as(*key, *asked) {
                        return false;
                    }
                    // Where absent stays absent there is no change.
                    let changes = *word != ABSENT || !held.holds(*key, ABSENT);
                    changes == (*revision != 0) && (!changes || held.set(*key, *word, *revision))
                })
            }
            Step::Apply(changes) => self.of(taken.handle).is_some_and(|held| {
                changes.iter().all(|(key, asked, word, revision)| {
                    held.is_as(*key, *asked)
                        && !(*word == ABSENT && held.holds(*key, ABSENT))
                        && *revision != 0
                        && held.set(*key, *word, *revision)
                })
            }),
            Step::TakesOut(key, revision, old) => self.of(taken.handle).is_some_and(|held| {
                old.is_none_or(|word| held.holds(*key, word))
                    && held.has_revision(*key, *revision)
                    && held.set(*key, ABSENT, 0)
            }),
            Step::Conflict(key, asked) => self
                .of(taken.handle)
                .is_some_and(|held| held.may_differ(*key, *asked)),
            Step::NoNumber(key) => self.of(taken.handle).is_some_and(|held| {
                let word = held.keys[*key].word;
                word != ABSENT && !values::is_int(word)
            }),
            // Changes of keys that nobody writes down have revisions too.
            Step::Revision(revision) => self.of(taken.handle).is_some_and(|held| {
                let is_none = *revision == 0 && held.keys == <[Held; KEYS]>::default();
                is_none || held.reaches(*revision, *revision + 1)
            }),
            Step::Clear => self
                .of(taken.handle)
                .map(|held| held.keys = Default::default())
                .is_some(),
            Step::Count(count) => self.of(taken.handle).is_some_and(|held| {
                held.keys.iter().filter(|one| one.word != ABSENT).count() == *count
            }),
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
}

impl Search<'_> {
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
        for thread in 0..threads.len() {
            let (steps, handled) = places[thread];
            if let Some(taken) = next(thread).filter(|taken| taken.call <= first) {
                let to = state.handles[usize::from(taken.handle)];
                let mut after = state.clone();
                let waits = !taken.step.is_of_the_registry()
                    && self.waits(state, places, thread, taken.casts, to);
                let restarts = self.history.restarts;
                if !waits && after.take(thread, taken, &self.revisions, restarts) {
                    let mut places = *places;
                    places[thread].0 += 1;
                    match self.go(&after, &places) {
                        Found::Order => return Found::Order,
                        Found::None => {}
                        Found::Unknown => unknown = true,
                    }
                }
            }
            for (place, cast) in threads[thread].casts.iter().enumerate() {
                let to = state.handles[usize::from(cast.handle)];
                if handled >> place & 1 == 1
                    || usize::from(steps) < cast.steps
                    || cast.call > first
                    || self.waits(state, places, thread, place, to)
                {
                    continue;
                }
                let (mut after, mut places) = (state.clone(), *places);
                if let Some(held) = after.of(cast.handle) {
                    if !held.set(cast.key, cast.word, self.revisions.of(cast.word)) {
                        continue;
                    }
                }
                places[thread].1 |= 1 << place;
                match self.go(&after, &places) {
                    Found::Order => return Found::Order,
                    Found::None => {}
                    Found::Unknown => unknown = true,
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
    let mut search = Search {
        history,
        revisions,
        tried: HashSet::new(),
        patience: PATIENCE,
    };
    search.go(&State::begin(handles), &Places::default())
}
