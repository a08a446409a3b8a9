//! What a watch tells: the present keys in rounds, and then what changes (G18).
//!
//! # The argument
//!
//! A round begins at a revision R and at the end of the log, in this order: what changed up to R
//! is seen by every read from here on, and what changes later has its record behind that place or
//! is seen too. So after the round, which reads each key once, the cursor goes through the log from
//! there, and passes over what it knows: records up to R, and those of a key that the round told with
//! a later revision, up to that one. These are kept by key; there are no more of them than the log
//! has records, or the cursor has fallen behind. A round that tells no keys begins with the watch,
//! and not when it is first asked: what changes in between is new.
//!
//! The log says which key changed; what it is now is read when it is told. A put is told if the
//! key has that very revision, a removal if the key is absent. Otherwise a later change
//! has come in between, whose record follows. So what is told of one key has rising revisions, and
//! the last change is always told.
//!
//! Who is behind by too many records, or whose place the log has passed, begins a new round. Its
//! memory is a page of keys, and those that changed during a round.

use std::collections::HashMap;

use super::contents::Unread;
use super::key::Key;
use super::key_log::{At, Kind, Record, WORDS};
use super::watching::{Watch, Watching};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::sync::{Arc, Weak};
use crate::table::Position;
use crate::value::Value;

/// Keys of a page.
const PAGE: usize = 64;

/// A key that was looked at, and why it was not told: so many are passed over in one step.
const STEPS: usize = 256;

/// What is watched, as cursors read it. Nothing here waits.
pub(crate) trait Watched: Send + Sync {
    fn watching(&self) -> &Watching;

    /// Takes a watch away.
    fn unwatch(&self, watch: &Arc<Watch>);

    /// Whether what tells of changes is out of reach: they come later.
    fn is_away(&self) -> bool {
        false
    }

    /// A revision up to which all changes are seen by reads from here on.
    fn known(&self) -> u64;

    /// What a key has now, with its revision.
    fn now(&self, key: Key<'_>, with_value: bool) -> Result<Option<(Value, u64)>, Unread>;

    /// Shows the keys from a position on, a few of them, until `show` refuses one.
    fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error>;
}

/// How a watch is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Follows {
    pub(crate) keys_only: bool,
    /// The first round tells no keys.
    pub(crate) only_new: bool,
    /// Records that it may be behind.
    pub(crate) max_pending: u64,
}

/// What is told.
#[derive(Debug)]
pub(crate) enum Told {
    Reset,
    Current(u64),
    /// What tells of changes is out of reach, or in reach again.
    Reach {
        is_away: bool,
    },
    Change {
        kind: Kind,
        /// With room for a NUL.
        key: Vec<u8>,
        value: Value,
        revision: u64,
    },
}

/// How far a step came.
#[derive(Debug)]
pub(crate) enum Step {
    Told(Told),
    /// There is nothing: the inbox will be told when there is.
    Nothing,
    /// To go on, call again: at once, or where a writer is in the middle of a change, soon.
    Again {
        is_soon: bool,
    },
    /// It has ended.
    Ended,
}

enum Phase {
    /// A round is to begin.
    Beginning,
    /// In a round: keys that are to be told, and where the rest begins.
    Keys(Vec<Vec<u8>>, Position),
    Following,
}

pub(crate) struct Cursor {
    watched: Weak<dyn Watched>,
    watch: Arc<Watch>,
    wanted: Follows,
    phase: Phase,
    at: At,
    /// The revision of the round's beginning.
    known: u64,
    later: Later,
    /// It found nothing, and is told when there is something.
    is_armed: bool,
    /// What it has told last of the reach.
    is_away: bool,
    /// What a record's key is copied to.
    key: Vec<u8>,
}

/// Keys that a round told with a later revision than that of its beginning.
#[derive(Default)]
struct Later {
    keys: HashMap<Box<[u8]>, u64>,
    bytes: usize,
    last: u64,
    /// There were too many.
    has_failed: bool,
}

impl Later {
    fn note(&mut self, key: &[u8], revision: u64, most: u64) {
        let bytes = self.bytes + key.len();
        let has_room = (self.keys.len() as u64) < most && bytes <= WORDS * 8;
        let room = memory::without_reserve(|| self.keys.try_reserve(1));
        match memory::bytes(key) {
            Some(key) if has_room && room.is_ok() && !self.has_failed => {
                self.bytes = bytes;
                self.last = self.last.max(revision);
                self.keys.insert(key, revision);
            }
            _ => {
                self.keys = HashMap::new();
                self.has_failed = true;
            }
        }
    }

    /// Whether a change was told before.
    fn has(&mut self, key: &[u8], revision: u64) -> bool {
        if revision > self.last {
            if !self.keys.is_empty() {
                self.keys = HashMap::new();
            }
            return false;
        }
        self.keys.get(key).is_some_and(|told| *told >= revision)
    }
}

impl Cursor {
    pub(crate) fn new(watched: Weak<dyn Watched>, watch: Arc<Watch>, wanted: Follows) -> Cursor {
        let mut cursor = Cursor {
            watched,
            watch,
            wanted,
            phase: Phase::Beginning,
            at: At::default(),
            known: 0,
            later: Later::default(),
            is_armed: false,
            is_away: false,
            key: Vec::new(),
        };
        // What is new is so from here on, however late it is received.
        if let (true, Some(watched)) = (wanted.only_new, cursor.watched.upgrade()) {
            cursor.begin_here(&*watched);
        }
        cursor
    }

    /// What comes next. Neither waits nor takes long.
    pub(crate) fn next(&mut self) -> Result<Step, Error> {
        let Some(watched) = self.watched.upgrade() else {
            return Ok(Step::Ended);
        };
        match self.look(&*watched) {
            Err(Unread::Busy) => Ok(Step::Again { is_soon: true }),
            Err(Unread::Error(Error::NoProcess | Error::ServerDown)) => Ok(Step::Ended),
            Err(Unread::Error(error)) => Err(error),
            Ok(step) => Ok(step),
        }
    }

    /// Whether nothing is to be told now: then the inbox will be told when there is.
    pub(crate) fn rests(&mut self) -> bool {
        let follows = matches!(self.phase, Phase::Following) && !self.later.has_failed;
        if let (true, Some(watched)) = (follows, self.watched.upgrade()) {
            self.is_armed = self.watch.log.ends_at(self.at) && self.arm(&*watched);
        }
        self.is_armed
    }

    fn arm(&self, watched: &dyn Watched) -> bool {
        if !watched.watching().arm(&self.watch, self.at) {
            return false;
        }
        // Who tells of the reach wakes those that are armed, after it has changed.
        let is_told = watched.is_away() == self.is_away;
        if !is_told {
            watched.watching().unarm(&self.watch);
        }
        is_told
    }

    fn look(&mut self, watched: &dyn Watched) -> Result<Step, Unread> {
        if self.is_armed {
            let Some(at) = self.watch.take_woken() else {
                return Ok(Step::Nothing);
            };
            // The writer may have been slow to wake it, for what it has read since.
            (self.at, self.is_armed) = (self.at.later(at), false);
        }
        let is_away = watched.is_away();
        if is_away != self.is_away {
            self.is_away = is_away;
            return Ok(Step::Told(Told::Reach { is_away }));
        }
        for _ in 0..STEPS {
            let told = match &self.phase {
                Phase::Beginning => Some(self.begin(watched)),
                Phase::Keys(..) => self.next_key(watched)?,
                Phase::Following => match self.follow(watched)? {
                    Following::Told(told) => Some(told),
                    Following::Passed => None,
                    Following::End if self.arm(watched) => {
                        self.is_armed = true;
                        return Ok(Step::Nothing);
                    }
                    // Others cannot be had to see it: it asks again.
                    Following::End if self.watch.log.ends_at(self.at) => {
                        return Ok(Step::Again { is_soon: true });
                    }
                    Following::End => None,
                },
            };
            if let Some(told) = told {
                return Ok(Step::Told(told));
            }
        }
        Ok(Step::Again { is_soon: false })
    }

    fn begin_here(&mut self, watched: &dyn Watched) {
        self.known = watched.known();
        self.at = self.watch.log.end();
        self.later = Later::default();
    }

    fn begin(&mut self, watched: &dyn Watched) -> Told {
        let position = match std::mem::take(&mut self.wanted.only_new) {
            true => Position::End,
            false => {
                self.begin_here(watched);
                Position::BEGINNING
            }
        };
        self.phase = Phase::Keys(Vec::new(), position);
        Told::Reset
    }

    /// The next of the present keys, or the end of the round.
    fn next_key(&mut self, watched: &dyn Watched) -> Result<Option<Told>, Unread> {
        let Phase::Keys(keys, position) = &mut self.phase else {
            return Ok(None);
        };
        if let Some(key) = keys.last() {
            let now = watched.now(Key::new(key), !self.wanted.keys_only)?;
            let key = keys.pop();
            let (Some(key), Some((value, revision))) = (key, now) else {
                return Ok(None); // it has gone
            };
            if revision > self.known {
                self.later.note(&key, revision, self.wanted.max_pending);
            }
            let kind = Kind::Put;
            return Ok(Some(Told::Change {
                kind,
                key,
                value,
                revision,
            }));
        }
        if *position == Position::End {
            self.phase = Phase::Following;
            return Ok(Some(Told::Current(self.known)));
        }
        let covered = &self.watch.covered;
        if covered.is_one {
            add(keys, &covered.prefix)?;
            *position = Position::End;
            return Ok(None);
        }
        let pinned = reclaim::pin();
        let page = watched.page(
            *position,
            PAGE,
            &pinned,
            &mut |key| match covered.has(key) {
                true => add(keys, key),
                false => Ok(()),
            },
        );
        match page {
            Ok(next) => *position = next,
            Err(error) => {
                keys.clear();
                return Err(error.into());
            }
        }
        // One that went and came back may have been found twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(None)
    }

    fn follow(&mut self, watched: &dyn Watched) -> Result<Following, Unread> {
        let log = &self.watch.log;
        if log.behind(self.at) > self.wanted.max_pending || self.later.has_failed {
            self.phase = Phase::Beginning;
            return Ok(Following::Passed);
        }
        let mut at = self.at;
        let (kind, revision) = match log.read(&mut at, &mut self.key)? {
            Record::None => return Ok(Following::End),
            Record::Gone | Record::Of(Kind::Cleared, _) => {
                self.phase = Phase::Beginning;
                return Ok(Following::Passed);
            }
            Record::Of(kind, revision) => (kind, revision),
        };
        let key = &self.key[..];
        let is_passed =
            revision <= self.known || !self.watch.covered.has(key) || self.later.has(key, revision);
        if is_passed {
            self.at = at;
            return Ok(Following::Passed);
        }
        let with_value = kind == Kind::Put && !self.wanted.keys_only;
        let value = match (kind, watched.now(Key::new(key), with_value)?) {
            (Kind::Put, Some((value, now))) if now == revision => value,
            (Kind::Deleted | Kind::Expired | Kind::Evicted, None) => Value::Nil,
            _ => {
                self.at = at;
                return Ok(Following::Passed);
            }
        };
        let key = copy(key)?;
        self.at = at;
        Ok(Following::Told(Told::Change {
            kind,
            key,
            value,
            revision,
        }))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        if let Some(watched) = self.watched.upgrade() {
            watched.unwatch(&self.watch);
        }
    }
}

enum Following {
    Told(Told),
    /// The record is not to be told.
    Passed,
    End,
}

fn copy(key: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    memory::reserve(&mut copy, key.len() + 1)?;
    copy.extend_from_slice(key);
    Ok(copy)
}

fn add(keys: &mut Vec<Vec<u8>>, key: &[u8]) -> Result<(), Error> {
    memory::without_reserve(|| keys.try_reserve(1)).map_err(|_| Error::NoMemory)?;
    keys.push(copy(key)?);
    Ok(())
}
