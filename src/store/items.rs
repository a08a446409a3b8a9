//! All keys, or a range of them, as they are at one instant.
//!
//! The keys are read in slices under the write exclusion, and the writer keeps what it takes away
//! between them (`snapshot.rs`). What one slice is enough for is read without the writer's help. Room
//! for what a slice reads is made before it, without the exclusion: an allocator may take long, where
//! it first puts together what was freed before. In a table that has no order a scan looks at every
//! key, and with a limit it keeps the smallest it has seen; in an ordered one it begins at the first
//! that is wanted and ends with the last.

use std::ops::Bound;
use std::sync::Arc;

use super::contents::Contents;
use super::gathered::{ByKey, Gathered, EACH, PASSED};
use super::many::{room_for, Noted};
use super::reading::read;
use super::snapshot::{About, Reading, Rest, Snapshot};
use super::stored::Stored;
use super::ttl::{is_past, life};
use super::wanted::Wanted;
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::lock;
use crate::table::{Found, Position};
use crate::time::Moment;
use crate::value::{Text, Value};

/// Bytes that are copied in one slice of a snapshot: a put waits no longer for it. An entry counts
/// for some more.
const SLICE: usize = 256 << 10;

/// In the place of a time to live: the key stays for ever.
pub(crate) const NO_TTL: i64 = -1;

/// A key, and all that is known of it.
pub(crate) struct Item {
    pub(crate) key: Text,
    /// Nil if only the keys are wanted.
    pub(crate) value: Value,
    /// Of the change that stored the value.
    pub(crate) revision: u64,
    /// What is left of its time to live, in milliseconds, or [`NO_TTL`].
    pub(crate) ttl_ms: i64,
}

impl Item {
    /// A copy of an entry as it is now, with what is left of its time at that moment, if there may
    /// be such. The writer's.
    pub(super) fn of(
        found: &Found<'_, Stored>,
        with_value: bool,
        moment: Option<Moment>,
    ) -> Result<Item, Error> {
        Ok(Item {
            key: Text::copy(found.key())?,
            value: match with_value {
                true => read(found)?,
                false => Value::Nil,
            },
            revision: found.value().revision(),
            ttl_ms: match (moment, life(found)) {
                (Some(moment), Some(life)) => moment.until(life.deadline()) as i64,
                _ => NO_TTL,
            },
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.value.as_bytes().map_or(0, <[u8]>::len)
    }
}

/// Keys and values at one instant, read in slices.
pub(crate) struct Items<'c> {
    contents: &'c Contents,
    wanted: Arc<Wanted>,
    in_slices: bool,
    /// Of the instant.
    revision: u64,
    /// The instant, if there may be keys with a time to live.
    moment: Option<Moment>,
    /// `None` as long as one slice is enough.
    noted: Option<Noted<'c>>,
    place: Reading,
    is_begun: bool,
    read: Gathered,
    /// Where the writer will keep what it takes away.
    kept: Gathered,
}

/// What is left of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    More,
    Nothing,
    /// It failed: it is to be begun anew.
    All,
    /// As many as the writer can heed are taken at once: it is to be begun anew when one is over.
    TooMany,
}

impl Contents {
    /// Room is to be made and they are to be continued until nothing is left, and then finished.
    pub(crate) fn items(&self, wanted: &Arc<Wanted>, in_slices: bool) -> Items<'_> {
        let by_key = wanted.in_order && self.table.is_ordered();
        Items {
            contents: self,
            wanted: Arc::clone(wanted),
            in_slices,
            revision: 0,
            moment: None,
            noted: None,
            place: match by_key {
                true => Reading::FromFirst,
                false => Reading::ByHash(Position::BEGINNING),
            },
            is_begun: false,
            read: Gathered::new(wanted, by_key),
            kept: Gathered::new(wanted, false),
        }
    }
}

impl Exclusive<'_, Contents> {
    /// Reads a slice. The instant is that of the first.
    pub(crate) fn continue_items(&self, items: &mut Items<'_>) -> Result<Left, Error> {
        if items.has_failed() {
            return Ok(Left::All);
        }
        self.count()?; // fails if it is closed
        if !items.is_begun {
            items.is_begun = true;
            items.revision = self.revisions.committed();
            items.moment = self.times.are_used().then(Moment::now);
        }
        let left = match &items.place {
            Reading::ByHash(position) => self.continue_by_hash(*position, items)?,
            Reading::FromFirst | Reading::ByKey(_) => self.continue_by_key(items)?,
        };
        match left {
            Left::More => items.note(),
            _ => {
                items.note_end();
                Ok(left)
            }
        }
    }

    fn continue_by_hash(&self, from: Position, items: &mut Items<'_>) -> Result<Left, Error> {
        let (revision, budget, wanted) = (items.revision, items.budget(), &*items.wanted);
        let (pinned, moment) = (reclaim::pin(), items.moment);
        let read = &mut items.read;
        let mut failed = Ok(());
        let position = self.writer(&pinned).scan(from, budget, |found| {
            // What was there before a later one is among the kept.
            let is_later = found.value().revision() > revision;
            if failed.is_err() || is_later || !wanted.has(found.key()) {
                return PASSED;
            }
            read.take(&found, wanted, moment).unwrap_or_else(|refused| {
                failed = Err(refused);
                budget
            })
        });
        failed?;
        items.place = Reading::ByHash(position);
        Ok(match position {
            Position::End => Left::Nothing,
            Position::At(_) => Left::More,
        })
    }

    fn continue_by_key(&self, items: &mut Items<'_>) -> Result<Left, Error> {
        let (revision, budget, wanted) = (items.revision, items.budget(), &*items.wanted);
        let (pinned, moment) = (reclaim::pin(), items.moment);
        let Gathered::All(read) = &items.read else {
            return Ok(Left::Nothing);
        };
        let mut left_over = wanted.limit - read.len();
        let from = match &items.place {
            Reading::ByKey(last) => Bound::Excluded(last.as_bytes()),
            _ => wanted.beginning(),
        };
        let read = &mut items.read;
        let (mut spent, mut last, mut failed) = (0, None, Ok(()));
        self.writer(&pinned).in_order(from, |found| {
            if left_over == 0 || wanted.is_behind(found.key()) {
                last = None;
                return false;
            }
            if found.value().revision() > revision || is_past(&found, moment) {
                spent += PASSED;
            } else {
                left_over -= 1;
                match read.take(&found, wanted, moment) {
                    Ok(bytes) => spent += bytes,
                    Err(refused) => failed = Err(refused),
                }
            }
            last = (spent >= budget).then_some(found);
            failed.is_ok() && last.is_none() && left_over > 0
        })?;
        failed?;
        let Some(last) = last.filter(|_| left_over > 0) else {
            return Ok(Left::Nothing);
        };
        items.place = Reading::ByKey(Text::copy(last.key())?);
        Ok(Left::More)
    }
}

impl<'c> Items<'c> {
    /// Makes room for the next slice, and for what is kept beside the first ones. Without the write
    /// exclusion.
    pub(crate) fn make_room(&mut self) -> Result<(), Error> {
        let left = self.contents.count()?.saturating_sub(self.read.len());
        let of_a_slice = left.min(SLICE / EACH + 1);
        if self.in_slices && !self.is_begun {
            self.kept.make_room(of_a_slice, &self.wanted)?;
        }
        let more = match self.in_slices {
            true if !self.wanted.is_all() => of_a_slice,
            true if self.is_begun => 0,
            _ => left,
        };
        self.read.make_room(more, &self.wanted)
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        match &self.read {
            Gathered::All(items) => items.capacity(),
            Gathered::Smallest(items) => items.capacity(),
        }
    }

    fn budget(&self) -> usize {
        match self.in_slices {
            true => SLICE,
            false => usize::MAX,
        }
    }

    fn has_failed(&self) -> bool {
        let noted = self.noted.as_ref();
        noted.is_some_and(|noted| noted.snapshot.has_failed())
    }

    /// Tells the writer how far this has come. Under the write exclusion.
    fn note(&mut self) -> Result<Left, Error> {
        if self.noted.is_none() {
            let kept = std::mem::replace(&mut self.kept, Gathered::new(&self.wanted, false));
            let rest = Rest::new(&self.wanted, self.moment, kept);
            let snapshot = Snapshot::new(About::Rest(rest));
            snapshot.set_revision(self.revision);
            let Ok(noted) = Noted::new(self.contents, snapshot) else {
                return Ok(Left::TooMany);
            };
            self.noted = Some(noted);
        }
        let about = self.noted.as_ref().map(|noted| &noted.snapshot.about);
        if let Some(About::Rest(rest)) = about {
            let mut reached = lock(&rest.reached);
            reached.place = self.place.copy()?;
            let bound = self.read.bound(&self.wanted);
            if let Some(bound) = bound.filter(|it| reached.bound.as_ref() != Some(*it)) {
                reached.bound = Text::copy(bound).ok().or(reached.bound.take());
            }
        }
        Ok(Left::More)
    }

    /// All was read: the writer keeps nothing more. Under the write exclusion.
    fn note_end(&self) {
        if let Some(About::Rest(rest)) = self.noted.as_ref().map(|it| &it.snapshot.about) {
            lock(&rest.reached).place = Reading::ByHash(Position::End);
        }
    }

    /// The instant, if keys may have had a time to live then.
    pub(crate) fn moment(&self) -> Option<Moment> {
        self.moment
    }

    /// All of them, once nothing is left; `None` if it failed meanwhile.
    pub(crate) fn finish(self) -> Result<Option<Vec<Item>>, Error> {
        let mut read = self.read.into_vec();
        if let Some(noted) = self.noted {
            let kept = noted.snapshot.take_rest();
            if noted.snapshot.has_failed() {
                return Ok(None);
            }
            memory::reserve(&mut read, kept.len())?;
            read.extend(kept);
        }
        if self.wanted.in_order {
            read.sort_unstable();
            read.truncate(self.wanted.limit);
        }
        Ok(Some(without_much_room(read)))
    }
}

/// Who was given few may keep them for long. It stays as it is where there is no memory.
fn without_much_room(read: Vec<ByKey>) -> Vec<Item> {
    let few = Some(read.len()).filter(|len| *len < SLICE / EACH);
    let exact = few.and_then(|few| room_for(few).ok());
    let read = read.into_iter().map(|it| it.0);
    match exact {
        Some(mut exact) => {
            exact.extend(read);
            exact
        }
        None => read.collect(), // in its place
    }
}
