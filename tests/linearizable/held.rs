//! What a bucket holds that does one thing at a time: words, revisions, times to live, and how many
//! keys there may be.

use super::search::{Asked, Ttl, Word, ABSENT, KEYS};

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
    /// From then on it is over, and may be gone; 0: it is there for ever.
    deadline: u64,
}

impl Held {
    /// What is seen of it by who looked at the clock then.
    fn word_at(&self, looked: u64) -> Word {
        match self.deadline != 0 && self.deadline <= looked {
            true => ABSENT,
            false => self.word,
        }
    }
}

/// What the keys of a history live by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// Milliseconds; 0: for ever.
    pub default_ttl: u64,
    /// A write that brings more keys takes others out; 0: there is room for all.
    pub places: usize,
}

/// The keys that a step changes.
pub struct Written {
    keys: Vec<usize>,
    /// How many of them are there afterwards.
    stored: usize,
}

impl Written {
    pub fn of(all: &[(usize, Word)]) -> Written {
        Written {
            keys: all.iter().map(|(key, _)| *key).collect(),
            stored: all.iter().filter(|(_, word)| *word != ABSENT).count(),
        }
    }
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Contents {
    keys: [Held; KEYS],
    /// The largest that is known.
    revision: u64,
    /// How many were taken out to make room.
    evicted: u64,
}

impl Contents {
    /// A bucket whose revisions are larger than this.
    pub fn after(revision: u64) -> Contents {
        Contents {
            revision,
            ..Contents::default()
        }
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn is_untouched(&self) -> bool {
        self.keys == <[Held; KEYS]>::default()
    }

    pub fn clear(&mut self) {
        self.keys = Default::default();
    }

    pub fn count(&self) -> usize {
        self.keys.iter().filter(|one| one.word != ABSENT).count()
    }

    pub fn word(&self, key: usize, looked: u64) -> Word {
        self.keys[key].word_at(looked)
    }

    pub fn holds(&self, key: usize, word: Word, looked: u64) -> bool {
        self.word(key, looked) == word
    }

    /// Whether so much is left of its time, and it is still seen; -1: it is there for ever.
    pub fn has_left(&self, key: usize, left: i64, looked: u64) -> bool {
        match self.keys[key].deadline {
            0 => left == -1,
            deadline => deadline > looked && (deadline - looked) as i64 == left,
        }
    }

    /// Until when the key is to live that is given this.
    pub fn deadline(&self, key: usize, ttl: Ttl, looked: u64, rules: Rules) -> u64 {
        match ttl {
            Ttl::Never => 0,
            Ttl::Millis(ttl) => looked + ttl,
            Ttl::Keep if self.word(key, looked) != ABSENT => self.keys[key].deadline,
            Ttl::Keep | Ttl::Default if rules.default_ttl == 0 => 0,
            Ttl::Keep | Ttl::Default => looked + rules.default_ttl,
        }
    }

    /// Stores a word, or takes the key out, if the change may have this revision; 0: nobody knows.
    pub fn set(&mut self, key: usize, word: Word, revision: u64, deadline: u64) -> bool {
        if revision != 0 && !self.rise(revision) {
            return false;
        }
        let is_known = revision != 0 || word == ABSENT;
        self.keys[key] = Held {
            word,
            revision: if word == ABSENT { 0 } else { revision },
            after: if is_known { 0 } else { self.revision },
            before: 0,
            deadline: if word == ABSENT { 0 } else { deadline },
        };
        true
    }

    /// Gives a key that is seen another time, with a revision that is known.
    pub fn expire(&mut self, key: usize, deadline: u64, revision: u64, looked: u64) -> bool {
        let word = self.word(key, looked);
        word != ABSENT && revision != 0 && self.set(key, word, revision, deadline)
    }

    /// A change has this revision, if it may.
    fn rise(&mut self, revision: u64) -> bool {
        revision > self.revision && self.reaches(revision, revision)
    }

    /// All changes until now have revisions up to this one, and those of the keys are below `end`.
    pub fn reaches(&mut self, revision: u64, end: u64) -> bool {
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
    pub fn has_revision(&mut self, key: usize, revision: u64, looked: u64) -> bool {
        let held = &mut self.keys[key];
        let is_absent = held.word_at(looked) == ABSENT;
        if is_absent || revision == 0 {
            return is_absent == (revision == 0);
        }
        if held.revision != 0 {
            return held.revision == revision;
        }
        if revision <= held.after || (held.before != 0 && revision >= held.before) {
            return false;
        }
        *held = Held {
            word: held.word,
            revision,
            deadline: held.deadline,
            ..Held::default()
        };
        self.revision = self.revision.max(revision);
        true
    }

    pub fn is_as(&mut self, key: usize, asked: Asked, looked: u64) -> bool {
        match asked {
            Asked::Nothing => true,
            Asked::Revision(revision) => self.has_revision(key, revision, looked),
            Asked::Value(word) => self.holds(key, word, looked),
        }
    }

    /// Whether it may be another way than asked.
    pub fn may_differ(&self, key: usize, asked: Asked, looked: u64) -> bool {
        let held = &self.keys[key];
        let word = held.word_at(looked);
        match asked {
            Asked::Nothing => false,
            Asked::Revision(0) => word != ABSENT,
            Asked::Revision(revision) => word == ABSENT || held.revision != revision,
            Asked::Value(expected) => word != expected,
        }
    }

    /// The keys beside these that take a place: `over` counts those too whose time is over, since
    /// they may not have been swept.
    fn beside<'a>(
        &'a self,
        written: &'a Written,
        over: bool,
        now: u64,
    ) -> impl Iterator<Item = usize> + 'a {
        (0..KEYS).filter(move |key| {
            let held = &self.keys[*key];
            let word = if over { held.word } else { held.word_at(now) };
            word != ABSENT && !written.keys.contains(key)
        })
    }

    /// Whether these can be stored without taking out any other.
    pub fn has_room_for(&self, written: &Written, now: u64, rules: Rules) -> bool {
        rules.places == 0
            || written.stored == 0
            || self.beside(written, false, now).count() + written.stored <= rules.places
    }

    /// What may go first, each as a change of its own, so that these find room beside so many
    /// places that are kept.
    pub fn victims(&self, written: &Written, kept: usize, now: u64, rules: Rules) -> Vec<usize> {
        let others: Vec<usize> = self.beside(written, true, now).collect();
        let is_full = rules.places != 0
            && written.stored != 0
            && others.len() + written.stored + kept > rules.places;
        if is_full {
            others
        } else {
            Vec::new()
        }
    }

    pub fn evict(&mut self, key: usize) {
        self.keys[key] = Held::default();
        self.evicted += 1;
    }
}
