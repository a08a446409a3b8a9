//! Threads that call one bucket after another, each by chance, and write down what they were
//! answered.

use std::sync::atomic::{AtomicU64, Ordering};

use super::calls::{Answer, Bucket, Lingers, Refused, Registry};
use super::clock;
use super::held::Rules;
use super::search::{Asked, Cast, Handle, Step, Taken, Thread, Word};
use super::search::{Ttl, ABSENT, FIRST, KEYS, THREADS};
use super::values::{self, Shown};

pub const NAMES: [&[u8]; KEYS] = [
    b"a",
    b"milk",
    b"a key that does not fit into twenty-four bytes",
];

/// Handles that one thread gets in a history.
pub const OWN: usize = 6;

/// The most milliseconds that a key lives.
const LONGEST: u64 = 4;

/// A moment of the history, and what the clock of the keys showed then.
#[derive(Clone, Copy)]
struct Moment {
    at: u64,
    clock: u64,
}

/// Before these moments, and after, all is the same where there is no clock.
const NO_CLOCK: (u64, u64) = (0, 1);

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        (0..4).for_each(|_| _ = random.draw());
        random
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.draw() >> 20) % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What the histories of a round are like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub threads: usize,
    steps: u64,
    keys: u64,
    /// Buckets are stopped and killed.
    ends: bool,
    /// They are looked up, made and removed too.
    names: bool,
    /// Those that end are started anew.
    pub restarts: bool,
    /// Many other keys come and go, so that tables grow and shrink meanwhile.
    pub crowded: bool,
    /// Moments are taken from a clock that all threads share. Without it, only the order within
    /// each thread is known, but nothing flushes what a processor has not yet shown to others.
    clock: bool,
    /// How many kinds of values there are: the last ones are large.
    values: u64,
    /// Keys have times to live, and threads move the clock.
    pub timed: bool,
    /// By which the keys live: what they have, and for how many there is room.
    pub rules: Rules,
}

impl Kind {
    pub fn by(random: &mut Random) -> Kind {
        // Mostly two, who are at it at the same time where there are two processors.
        let threads = [2, 2, 3, THREADS][random.below(4) as usize];
        let ends = random.once_in(2);
        let names = ends && random.once_in(2);
        let crowded = random.once_in(3);
        let timed = clock::IS_OURS && random.once_in(2);
        let rules = Rules {
            default_ttl: match timed && random.once_in(2) {
                true => 1 + random.below(LONGEST),
                false => 0,
            },
            places: match !crowded && random.once_in(3) {
                true => 1 + random.below(KEYS as u64 - 1) as usize,
                false => 0,
            },
        };
        Kind {
            threads,
            steps: if threads == 2 {
                12
            } else {
                24 / threads as u64
            },
            keys: match rules.places {
                0 => 1 + random.below(KEYS as u64),
                _ => KEYS as u64,
            },
            ends,
            names,
            restarts: names && random.once_in(2),
            crowded,
            clock: !random.once_in(3),
            values: if random.once_in(4) { values::KINDS } else { 12 },
            timed,
            rules,
        }
    }
}

/// What a thread has learned of a key: it is what it asks for later.
#[derive(Clone, Copy)]
pub struct Seen {
    key: usize,
    word: Word,
    revision: u64,
}

/// A thread in a history.
pub struct Player<'a> {
    pub kind: Kind,
    pub place: usize,
    pub random: Random,
    pub registry: &'a Registry,
    pub name: &'a str,
    pub first: Option<&'a Bucket>,
    pub own: Vec<Bucket>,
    pub handle: Handle,
    pub clock: &'a AtomicU64,
    pub writes: u64,
    pub seen: Vec<Seen>,
    pub record: Thread,
}

impl Player<'_> {
    fn moment(&self) -> Moment {
        let at = if self.kind.clock {
            self.clock.fetch_add(1, Ordering::SeqCst) + 1
        } else {
            NO_CLOCK.0
        };
        let clock = clock::now();
        Moment { at, clock }
    }

    fn bucket(&self) -> &Bucket {
        match self.handle {
            FIRST => self.first.expect("it was made"),
            own => &self.own[(usize::from(own) - 1) % OWN],
        }
    }

    /// Writes down a call that has been answered: its steps, or how it was refused.
    fn note(&mut self, by: &'static str, call: Moment, answer: Answer<Vec<Step>>) {
        let mut answered = self.moment();
        if !self.kind.clock {
            answered.at = NO_CLOCK.1;
        }
        let steps = answer.unwrap_or_else(|refused| match refused {
            Refused::NoProcess => vec![Step::Gone],
            Refused::ServerDown => vec![Step::Lives, Step::Gone],
            other => panic!("nothing was asked that could be answered {other:?}"),
        });
        for step in steps {
            self.record.steps.push(Taken {
                step,
                by,
                handle: self.handle,
                call: call.at,
                answer: answered.at,
                clock: (call.clock, answered.clock),
                casts: self.record.casts.len(),
            });
        }
    }

    fn key(&mut self) -> usize {
        self.random.below(self.kind.keys) as usize
    }

    /// A word that nobody else writes, or nil.
    fn word(&mut self) -> Word {
        if self.random.once_in(12) {
            return values::NIL;
        }
        values::word(self.number(), self.random.below(self.kind.values))
    }

    /// One that nobody else has.
    fn number(&mut self) -> u64 {
        self.writes += 1;
        self.place as u64 * 1000 + self.writes
    }

    /// What is to be stored, or nothing.
    fn next(&mut self) -> (Word, Option<Shown>) {
        if self.random.once_in(4) {
            return (ABSENT, None);
        }
        let word = self.word();
        (word, Some(values::shown(word)))
    }

    /// Whether one more fits beside so many: a batch that alone is too large is refused.
    fn finds_room(&self, beside: usize) -> bool {
        self.kind.rules.places == 0 || beside < self.kind.rules.places
    }

    /// What a change gives its key.
    fn ttl(&mut self) -> Ttl {
        if !self.kind.timed {
            return Ttl::Default;
        }
        match self.random.below(8) {
            0 => Ttl::Default,
            1 => Ttl::Never,
            2 => Ttl::Keep,
            _ => Ttl::Millis(1 + self.random.below(LONGEST)),
        }
    }

    /// The clock of the keys goes on.
    fn advance(&mut self) {
        let ms = 1 + self.random.below(2);
        let call = self.moment();
        let from = clock::advance(ms);
        self.note("advance", call, Ok(vec![Step::Advance(from, from + ms)]));
    }

    fn expire(&mut self) {
        let key = self.key();
        let ttl = match self.ttl() {
            Ttl::Default | Ttl::Keep => Ttl::Never,
            other => other,
        };
        let call = self.moment();
        let steps = match self.bucket().expire(NAMES[key], ttl) {
            Err(Refused::NotFound) => Ok(vec![Step::Read(vec![(key, ABSENT)])]),
            other => other.map(|revision| vec![Step::Expire(key, ttl, revision)]),
        };
        self.note("expire", call, steps);
    }

    fn lingers(&mut self) -> Lingers {
        match self.random.below(8) {
            0..=3 => Lingers::Not,
            4..=5 => Lingers::Spins,
            6 => Lingers::Yields,
            _ => Lingers::Sleeps,
        }
    }

    fn get(&mut self) {
        let (key, into) = (self.key(), self.random.once_in(2));
        let call = self.moment();
        let answer = if into {
            self.bucket().get_into(NAMES[key])
        } else {
            self.bucket().get(NAMES[key])
        };
        self.note(
            "get",
            call,
            found(answer).map(|word| vec![Step::Read(vec![(key, word)])]),
        );
    }

    /// By a function of one type: what is of another says only that the bucket lives.
    fn get_typed(&mut self) {
        let (key, is_number) = (self.key(), self.random.once_in(2));
        let call = self.moment();
        let answer = match self.bucket().get_typed(NAMES[key], is_number) {
            Err(Refused::NotFound) => Ok(Some(ABSENT)),
            other => other,
        };
        let read = |word: Option<Word>| match word {
            Some(word) => vec![Step::Read(vec![(key, word)])],
            None => vec![Step::Lives],
        };
        self.note("get of a type", call, answer.map(read));
    }

    fn put(&mut self) {
        let (key, word, typed) = (self.key(), self.word(), self.random.once_in(2));
        let shown = values::shown(word);
        let call = self.moment();
        let answer = if typed {
            self.bucket().put_typed(NAMES[key], &shown)
        } else {
            self.bucket().put(NAMES[key], &shown)
        };
        self.note(
            "put",
            call,
            answer.map(|()| vec![Step::Write(vec![(key, word)])]),
        );
    }

    fn delete(&mut self) {
        let key = self.key();
        let call = self.moment();
        let answer = found(self.bucket().delete(NAMES[key]));
        self.note(
            "delete",
            call,
            answer.map(|seen| vec![Step::Exchange(key, seen, ABSENT)]),
        );
    }

    fn update(&mut self) {
        let (key, in_two, (word, next)) = (self.key(), self.random.once_in(2), self.next());
        let lingers = self.lingers();
        let by = if in_two {
            "update_begin and _end"
        } else {
            "update"
        };
        let call = self.moment();
        let answer = if in_two {
            self.bucket().update_in_two(NAMES[key], next, lingers)
        } else {
            self.bucket().update(NAMES[key], next, lingers)
        };
        self.note(
            by,
            call,
            answer.map(|seen| vec![Step::Exchange(key, seen, word)]),
        );
    }

    fn cast(&mut self) {
        let (key, (word, next)) = (self.key(), self.next());
        let call = self.moment();
        match self.bucket().cast(NAMES[key], next.as_ref()) {
            Ok(()) => self.record.casts.push(Cast {
                handle: self.handle,
                key,
                word,
                call: call.at,
                clock: call.clock,
                steps: self.record.steps.len(),
            }),
            Err(Refused::Limit) if self.kind.rules.places != 0 => {} // it was not sent
            Err(refused) => self.note("cast", call, Err(refused)),
        }
    }

    fn batch(&mut self) {
        let mut words: Vec<(usize, Word)> = Vec::new();
        for key in 0..self.kind.keys as usize {
            if !self.random.once_in(3) && self.finds_room(words.len()) {
                let word = self.word();
                words.push((key, word));
            }
        }
        let fillers: Vec<String> = (0..if self.kind.crowded { 40 } else { 0 })
            .map(|number| format!("batch {number}"))
            .collect();
        let pair = |(key, word): &(usize, Word)| (NAMES[*key], values::shown(*word));
        let mut pairs: Vec<(&[u8], Shown)> = words.iter().map(pair).collect();
        pairs.extend(fillers.iter().map(|name| (name.as_bytes(), Shown::Nil)));
        let call = self.moment();
        let answer = self.bucket().put_many(&pairs);
        self.note("put_many", call, answer.map(|()| vec![Step::Write(words)]));
    }

    fn snapshot(&mut self) {
        let all = self.random.once_in(2);
        let in_order = all && self.random.once_in(2);
        let call = self.moment();
        let (by, answer) = if in_order {
            ("scan", self.bucket().scan(&NAMES))
        } else if all {
            ("items", self.bucket().items(&NAMES).map(|(words, _)| words))
        } else {
            ("get_many", self.bucket().get_many(&NAMES))
        };
        let read = |words: Vec<Word>| vec![Step::Read(words.into_iter().enumerate().collect())];
        self.note(by, call, answer.map(read));
    }

    fn get_entry(&mut self, key: usize) {
        let call = self.moment();
        let answer = self.bucket().get_entry(NAMES[key]);
        let (word, revision, _) = *answer.as_ref().unwrap_or(&(ABSENT, 0, 0));
        let steps = match answer {
            Err(Refused::NotFound) => Ok(vec![Step::Read(vec![(key, ABSENT)])]),
            other => {
                other.map(|(word, revision, left)| vec![Step::Entry(key, word, revision, left)])
            }
        };
        self.note("get_entry", call, steps);
        self.learn(key, word, revision);
    }

    fn learn(&mut self, key: usize, word: Word, revision: u64) {
        self.seen.push(Seen {
            key,
            word,
            revision,
        });
    }

    /// What this thread takes for true: mostly what it saw last of the key, and right before.
    fn expected(&mut self, key: usize) -> Seen {
        if self.random.once_in(2) {
            self.get_entry(key);
        }
        let absent = Seen {
            key,
            word: ABSENT,
            revision: 0,
        };
        let of_key = self.seen.iter().rev().find(|seen| seen.key == key);
        let last = of_key.copied().unwrap_or(absent);
        match self.random.below(8) {
            0 => absent,
            1 if !self.seen.is_empty() => {
                self.seen[self.random.below(self.seen.len() as u64) as usize]
            }
            _ => last,
        }
    }

    /// Writes down a change that tells its revision, or that the key was not as asked.
    fn note_change(
        &mut self,
        by: &'static str,
        call: Moment,
        (key, asked, word, ttl): (usize, Asked, Word, Ttl),
        answer: Answer<u64>,
    ) {
        if let Ok(revision) = answer {
            self.learn(key, word, revision);
        }
        let change = |revision| vec![Step::Change(key, asked, word, ttl, revision)];
        self.note(by, call, refusable(answer.map(change), key, asked));
    }

    fn put_entry(&mut self) {
        let (key, word, ttl) = (self.key(), self.word(), self.ttl());
        let shown = values::shown(word);
        let call = self.moment();
        let answer = self.bucket().put_entry(NAMES[key], &shown, ttl);
        self.note_change("put_entry", call, (key, Asked::Nothing, word, ttl), answer);
    }

    fn put_if(&mut self) {
        let (key, word, ttl) = (self.key(), self.word(), self.ttl());
        let (expected, shown) = (self.expected(key).revision, values::shown(word));
        let call = self.moment();
        let answer = self.bucket().put_if(NAMES[key], &shown, expected, ttl);
        let change = (key, Asked::Revision(expected), word, ttl);
        self.note_change("put_if", call, change, answer);
    }

    fn put_if_equal(&mut self) {
        let (key, (word, next)) = (self.key(), self.next());
        let expected = self.expected(key).word;
        let shown = (expected != ABSENT).then(|| values::shown(expected));
        let call = self.moment();
        let answer = self
            .bucket()
            .put_if_equal(NAMES[key], shown.as_ref(), next.as_ref());
        let change = (key, Asked::Value(expected), word, Ttl::Keep);
        self.note_change("put_if_equal", call, change, answer);
    }

    fn delete_if(&mut self) {
        let (key, wanted) = (self.key(), self.random.once_in(2));
        let revision = self.expected(key).revision;
        if revision == 0 {
            return; // which cannot be asked for
        }
        let call = self.moment();
        let answer = match self.bucket().delete_if(NAMES[key], revision, wanted) {
            Err(Refused::NotFound) => Ok(vec![Step::Read(vec![(key, ABSENT)])]),
            other => other.map(|old| vec![Step::TakesOut(key, revision, old)]),
        };
        let answer = refusable(answer, key, Asked::Revision(revision));
        self.note("delete_if", call, answer);
    }

    /// Several keys in one step, some on a condition.
    fn apply(&mut self) {
        let mut changes: Vec<(usize, Asked, Word, Ttl)> = Vec::new();
        for key in 0..self.kind.keys as usize {
            if self.random.once_in(3) || !self.finds_room(changes.len()) {
                continue;
            }
            let ((word, _), ttl) = (self.next(), self.ttl());
            let asked = match self.random.once_in(2) {
                true => Asked::Revision(self.expected(key).revision),
                false => Asked::Nothing,
            };
            if word != ABSENT || asked != Asked::Revision(0) {
                changes.push((key, asked, word, ttl)); // what is absent cannot be deleted
            }
        }
        if self.random.once_in(2) {
            changes.reverse();
        }
        let fillers: Vec<String> = (0..if self.kind.crowded { 40 } else { 0 })
            .map(|number| format!("batch {number}"))
            .collect();
        let given = changes.iter().map(|(key, asked, word, ttl)| {
            let expected = match asked {
                Asked::Revision(revision) => Some(*revision),
                _ => None,
            };
            let shown = (*word != ABSENT).then(|| values::shown(*word));
            (NAMES[*key], shown, expected, *ttl)
        });
        let mut given: Vec<_> = given.collect();
        given.extend(
            fillers
                .iter()
                .map(|name| (name.as_bytes(), Some(Shown::Nil), None, Ttl::Default)),
        );
        let call = self.moment();
        let answer = match self.bucket().apply(&given) {
            Ok(revisions) => {
                let all = changes.iter().zip(revisions);
                let all = all.map(|((key, asked, word, ttl), revision)| {
                    (*key, *asked, *word, *ttl, revision)
                });
                Ok(vec![Step::Apply(all.collect())])
            }
            Err((at, Refused::Conflict)) => Ok(vec![Step::Conflict(changes[at].0, changes[at].1)]),
            Err((at, Refused::NotFound)) => Ok(vec![Step::Read(vec![(changes[at].0, ABSENT)])]),
            Err((_, refused)) => Err(refused),
        };
        self.note("apply", call, answer);
    }

    fn add(&mut self) {
        let (key, delta) = (self.key(), values::delta(self.number()));
        let call = self.moment();
        let answer = match self.bucket().add_int(NAMES[key], delta) {
            Err(Refused::WrongType) => Ok(vec![Step::NoNumber(key)]),
            other => other.map(|(before, sum)| vec![Step::Exchange(key, before, sum)]),
        };
        self.note("add_int", call, answer);
    }

    fn revision(&mut self) {
        let call = self.moment();
        let answer = self.bucket().revision();
        self.note(
            "revision",
            call,
            answer.map(|revision| vec![Step::Revision(revision)]),
        );
    }

    fn clear(&mut self) {
        let call = self.moment();
        let answer = self.bucket().clear();
        self.note("clear", call, answer.map(|()| vec![Step::Clear]));
    }

    fn end(&mut self) {
        let kill = self.random.once_in(2);
        let by = if kill { "exit" } else { "stop" };
        let call = self.moment();
        let answer = if kill {
            self.bucket().kill()
        } else {
            self.bucket().stop()
        };
        let before = self.record.steps.len();
        self.note(
            by,
            call,
            answer.map(|()| vec![Step::Lives, Step::NameGoes, Step::Ends]),
        );
        if kill {
            // At once: what is queued is dropped, and until the end nobody sees it.
            let steps = self.record.steps[before..].iter_mut();
            steps.for_each(|taken| taken.casts = 0);
        }
    }

    /// Gets another handle, which is used from then on.
    fn look_up(&mut self) {
        if self.own.len() == OWN {
            return;
        }
        let handle = (1 + self.place * OWN + self.own.len()) as Handle;
        let make = self.random.once_in(2);
        let call = self.moment();
        let (answer, step) = if make {
            (self.registry.create(self.name), Step::Makes(handle))
        } else {
            (self.registry.lookup(self.name), Step::Finds(handle))
        };
        match answer {
            Ok(bucket) => {
                self.note("lookup", call, Ok(vec![step]));
                self.own.push(bucket);
                self.handle = handle;
            }
            Err(Refused::NotFound) if !make => {
                self.note("lookup", call, Ok(vec![Step::FindsNothing]))
            }
            Err(refused) => panic!("a lookup was answered {refused:?}"),
        }
    }

    fn remove(&mut self) {
        let call = self.moment();
        match self.registry.remove(self.name) {
            Ok(()) => self.note("remove", call, Ok(vec![Step::Removes, Step::RemovedEnds])),
            Err(Refused::NotFound) => self.note("remove", call, Ok(vec![Step::FindsNothing])),
            Err(refused) => panic!("a removal was answered {refused:?}"),
        }
    }

    /// Others come and go, of which nothing is written down.
    fn crowd(&mut self) {
        for _ in 0..self.random.below(60) {
            let name = format!("{} {}", self.place, self.random.below(200));
            if self.random.once_in(3) {
                let _ = self.bucket().delete(name.as_bytes());
            } else {
                let _ = self.bucket().put(name.as_bytes(), &Shown::Nil);
            }
        }
    }

    pub fn play(&mut self) {
        for _ in 0..self.kind.steps {
            if self.kind.crowded {
                self.crowd();
            }
            if self.random.once_in(16) {
                self.lingers().while_others_run();
            }
            if self.kind.names && self.random.once_in(3) {
                if self.random.once_in(4) {
                    self.remove();
                } else {
                    self.look_up();
                }
                continue;
            }
            if self.kind.ends && self.random.once_in(12) {
                self.end();
                continue;
            }
            if self.kind.timed && self.random.once_in(4) {
                match self.random.below(6) {
                    0 => self.expire(),
                    1..=2 => self.snapshot(), // beside whoever stores a key anew that is over
                    _ => self.advance(),
                }
                continue;
            }
            match self.random.below(32) {
                0..=3 => self.get(),
                4..=5 => self.get_typed(),
                6..=9 => self.put(),
                10..=11 => self.delete(),
                12..=13 => self.update(),
                14..=15 => self.cast(),
                16 => self.apply(),
                17 => self.batch(),
                18 => self.snapshot(),
                19 if self.random.once_in(3) => self.clear(),
                19 => self.snapshot(),
                20..=21 => {
                    let key = self.key();
                    self.get_entry(key);
                }
                22 => self.put_entry(),
                23..=25 => self.put_if(),
                26..=27 => self.put_if_equal(),
                28 => self.delete_if(),
                29..=30 => self.add(),
                _ => self.revision(),
            }
        }
        // So that no cast waits when the end is looked at.
        let mut asked: Vec<Handle> = self.record.casts.iter().map(|cast| cast.handle).collect();
        asked.dedup();
        for handle in asked {
            self.handle = handle;
            self.get();
        }
    }
}

/// That it was not as asked is an answer too.
fn refusable(answer: Answer<Vec<Step>>, key: usize, asked: Asked) -> Answer<Vec<Step>> {
    match answer {
        Err(Refused::Conflict) => Ok(vec![Step::Conflict(key, asked)]),
        other => other,
    }
}

/// An absent key is an answer too.
fn found(answer: Answer<Word>) -> Answer<Word> {
    match answer {
        Err(Refused::NotFound) => Ok(ABSENT),
        other => other,
    }
}
