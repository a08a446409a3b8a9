//! Whether a history has an order in which a bucket that does one thing at a time would have given
//! the same answers: the search of Wing and Gong, with Lowe's memory of what was tried.
//!
//! It is our own, for two things that the crates which do it (`todc-utils`, `lincheck`,
//! `stateright`) cannot say. A cast has no answer, and still comes before the next call of its
//! thread to the same bucket (G3). An end has several steps with an order of their own: first the
//! name goes, then mail is refused (G5). So a call is a list of steps here, and casts wait beside
//! the calls of their thread.
//!
//! Nothing is excused: a bucket that ends is part of the state, and who is answered OK was answered
//! by one that lived.

use std::collections::HashSet;

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

impl Step {
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

/// Buckets are numbered as they are made.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    named: u8,
    lives: u64,
    contents: Vec<[Word; KEYS]>,
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

    fn make(&mut self) -> u8 {
        let bucket = self.contents.len();
        self.contents.push([ABSENT; KEYS]);
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
    fn of(&mut self, handle: Handle) -> Option<&mut [Word; KEYS]> {
        let bucket = self.handles[usize::from(handle)];
        let lives = bucket != NOBODY && self.lives(bucket);
        lives.then(|| &mut self.contents[usize::from(bucket)])
    }

    /// Takes a step, if the answer would have been this one.
    fn take(&mut self, thread: usize, taken: &Taken, restarts: bool) -> bool {
        let bucket = self.handles[usize::from(taken.handle)];
        match &taken.step {
            Step::Read(seen) => self
                .of(taken.handle)
                .is_some_and(|words| seen.iter().all(|(key, word)| words[*key] == *word)),
            Step::Write(pairs) => {
                let Some(words) = self.of(taken.handle) else {
                    return false;
                };
                pairs.iter().for_each(|(key, word)| words[*key] = *word);
                true
            }
            Step::Exchange(key, seen, next) => {
                let words = self.of(taken.handle);
                let word = words.map(|words| &mut words[*key]);
                word.filter(|word| **word == *seen)
                    .map(|word| *word = *next)
                    .is_some()
            }
            Step::Clear => self
                .of(taken.handle)
                .map(|words| *words = [ABSENT; KEYS])
                .is_some(),
            Step::Count(count) => self.of(taken.handle).is_some_and(|words| {
                words.iter().filter(|word| **word != ABSENT).count() == *count
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
                if !waits && after.take(thread, taken, self.history.restarts) {
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
                if let Some(words) = after.of(cast.handle) {
                    words[cast.key] = cast.word;
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
    let mut search = Search {
        history,
        tried: HashSet::new(),
        patience: PATIENCE,
    };
    search.go(&State::begin(handles), &Places::default())
}
