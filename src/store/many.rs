//! Many keys read as they are at one instant.

use super::contents::{Contents, Unread};
use super::key::Key;
use super::reading::{read, try_read, Owned, Tried};
use super::snapshot::{About, Filter, Kept, Snapshot};
use super::stored::Stored;
use super::ttl::is_over;
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::{back_off, lock, Mutex, Ordering};
use crate::table::{Closed, Found, Position};
use crate::time::Clock;
use crate::value::{Text, Value};

/// The values of some keys; `None` where a key is absent.
pub(crate) type Many = Vec<Option<Value>>;

/// So many keys are read in one pin, and before it is asked whether it was all in vain.
const CHUNK: usize = 64;

/// How often the change that is under way is waited for.
const WAITS: u32 = 16;

/// Bytes that are copied in one slice of a snapshot: a put waits no longer for it. An entry counts
/// for so many at least.
const SLICE: usize = 256 << 10;
const EACH: usize = 256;

impl Contents {
    /// A value with the revision of its change.
    fn get_with_revision(
        &self,
        key: Key<'_>,
        clock: &Clock,
    ) -> Result<Option<(Value, u64)>, Unread> {
        self.resolve(key, &reclaim::pin(), |look| {
            let revision = look.revision();
            match try_read(look, Owned, clock) {
                Tried::Read(value) => Tried::Read((value, revision)),
                Tried::NoMemory => Tried::NoMemory,
                Tried::Torn => Tried::Torn,
                Tried::Over => Tried::Over,
            }
        })
    }

    /// Reads the keys without being noticed; `None` if there was a change meanwhile.
    fn get_many_between_changes(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let Some(last) = self.revisions.between_changes() else {
            return Ok(None);
        };
        let (mut values, clock) = (room_for(keys.len())?, Clock::new());
        for chunk in keys.chunks(CHUNK) {
            let pinned = reclaim::pin();
            for key in chunk {
                let value = self.resolve(*key, &pinned, |look| try_read(look, Owned, &clock));
                match value {
                    Ok(value) => values.push(value),
                    Err(Unread::Busy) => return Ok(None),
                    Err(Unread::Error(error)) => return Err(error),
                }
            }
            if !self.revisions.is_still(last) {
                return Ok(None);
            }
        }
        Ok(Some(values))
    }

    /// Reads the keys beside the writer, who keeps what it takes away meanwhile; `None` if it
    /// could not.
    fn get_many_beside_writer(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let filter = Filter::of(keys.iter().map(|key| key.hash))?;
        let Ok(noted) = Noted::new(self, Snapshot::new(About::Some(filter))) else {
            return Ok(None);
        };
        if !reclaim::heavy() {
            return Ok(None);
        }
        // Known from here on, so that no more is kept than is of it. The instant of both is one: the
        // clock shows the same before and after it.
        let (clock, are_timed) = (Clock::new(), self.times.are_used());
        let before = are_timed.then(|| clock.now().ms());
        let revision = self.revisions.begun();
        if before.is_some_and(|before| Clock::new().now().ms() != before) {
            return Ok(None);
        }
        noted.snapshot.set_revision(revision);
        let mut step = 0;
        while self.revisions.committed() < revision {
            if step == WAITS {
                return Ok(None); // a batch, perhaps
            }
            back_off(step);
            step += 1;
        }
        if self.times.are_used() != are_timed {
            return Ok(None);
        }
        let mut values = room_for(keys.len())?;
        let mut missing = Vec::new();
        for key in keys {
            match self.get_with_revision(*key, &clock) {
                Ok(Some((value, from))) if from <= revision => values.push(Some(value)),
                Ok(_) => {
                    grow(&mut missing)?;
                    missing.push(values.len());
                    values.push(None);
                }
                Err(Unread::Busy) => return Ok(None),
                Err(Unread::Error(error)) => return Err(error),
            }
        }
        let mut kept = noted.snapshot.take_kept();
        if noted.snapshot.has_failed() {
            return Ok(None);
        }
        kept.retain(|kept| kept.is_of(revision) && kept.lives(&clock));
        kept.sort_unstable_by_key(|kept| kept.hash);
        for place in missing {
            values[place] = find(&kept, keys[place]);
        }
        Ok(Some(values))
    }

    /// Reads the keys, if it can be done without the write exclusion.
    pub(crate) fn get_many(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        match self.get_many_between_changes(keys)? {
            None => self.get_many_beside_writer(keys),
            read => Ok(read),
        }
    }
}

fn find(kept: &[Kept], key: Key<'_>) -> Option<Value> {
    let first = kept.partition_point(|kept| kept.hash < key.hash);
    let mut candidates = kept[first..].iter().take_while(|it| it.hash == key.hash);
    let found = candidates.find(|kept| kept.key.as_bytes() == &key[..])?;
    Some(found.value.clone())
}

fn room_for<T>(len: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    memory::reserve(&mut room, len)?;
    Ok(room)
}

/// Copies an entry; answers its bytes.
fn copy(found: &Found<'_, Stored>, to: &mut Vec<(Text, Value)>) -> Result<usize, Error> {
    let pair = (Text::copy(found.key())?, read(found)?);
    let bytes = pair.0.len() + pair.1.as_bytes().map_or(0, <[u8]>::len);
    grow(to)?;
    to.push(pair);
    Ok(bytes)
}

/// Room for one more.
fn grow<T>(room: &mut Vec<T>) -> Result<(), Error> {
    memory::without_reserve(|| room.try_reserve(1)).map_err(|_| Error::NoMemory)
}

/// A snapshot that the writer heeds, until it is dropped.
struct Noted<'c> {
    contents: &'c Contents,
    snapshot: &'c Snapshot,
}

impl<'c> Noted<'c> {
    fn new(contents: &'c Contents, snapshot: Snapshot) -> Result<Noted<'c>, Error> {
        let snapshot = contents.snapshots.add(Box::new(snapshot));
        let snapshot = snapshot.map_err(|_| Error::Limit("snapshots of a bucket"))?;
        contents.heed.fetch_add(1, Ordering::SeqCst);
        Ok(Noted { contents, snapshot })
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.contents.heed.fetch_sub(1, Ordering::Release);
        let pinned = reclaim::pin();
        self.contents.snapshots.remove(self.snapshot, &pinned);
        // The writer may have it yet, but keeps nothing more; and what it kept is freed here.
        self.snapshot.fail();
        drop(self.snapshot.take_kept());
    }
}

/// All keys and values at one instant, read in slices.
pub(crate) struct Items<'c> {
    contents: &'c Contents,
    in_slices: bool,
    /// `None`: all is to be read in one slice.
    noted: Option<Noted<'c>>,
    position: Position,
    read: Vec<(Text, Value)>,
    /// The instant.
    clock: Clock,
}

/// What is left of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    More,
    Nothing,
    /// It failed: it is to be begun anew.
    All,
}

impl Contents {
    /// To be begun, continued until nothing is left, and finished: the first two under the write
    /// exclusion.
    pub(crate) fn items(&self, in_slices: bool) -> Items<'_> {
        Items {
            contents: self,
            in_slices,
            noted: None,
            position: Position::BEGINNING,
            read: Vec::new(),
            clock: Clock::new(),
        }
    }
}

impl Exclusive<'_, Contents> {
    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many(&self, keys: &[Key<'_>]) -> Result<Many, Error> {
        let (pinned, clock) = (reclaim::pin(), Clock::new());
        let mut values = room_for(keys.len())?;
        for key in keys {
            let found = self.writer(&pinned).get(key.hash, key);
            let found = found.map_err(|Closed| Error::NoProcess)?;
            let found = found.filter(|found| !is_over(found, &clock));
            values.push(found.as_ref().map(read).transpose()?);
        }
        Ok(values)
    }

    /// The instant is now.
    pub(crate) fn begin_items(&self, items: &mut Items<'_>) -> Result<(), Error> {
        items.read = room_for(self.count()?)?;
        if self.times.are_used() {
            items.clock.now();
        }
        if items.in_slices {
            let about = About::Rest(Mutex::new(Position::BEGINNING));
            let snapshot = Snapshot::new(about);
            snapshot.set_revision(self.revisions.committed());
            items.noted = Noted::new(items.contents, snapshot).ok();
        }
        Ok(())
    }

    pub(crate) fn continue_items(&self, items: &mut Items<'_>) -> Result<Left, Error> {
        if items.has_failed() {
            return Ok(Left::All);
        }
        let pinned = reclaim::pin();
        self.count()?; // fails if it is closed
        if items.noted.is_none() {
            items.clock = Clock::new(); // all is read now
        }
        let revision = items.noted.as_ref().map(|noted| noted.snapshot.revision());
        let (read_until_now, in_slices) = (&mut items.read, items.noted.is_some());
        let clock = &items.clock;
        let mut failed = Ok(());
        let budget = if in_slices { SLICE } else { usize::MAX };
        items.position = self.writer(&pinned).scan(items.position, budget, |found| {
            if failed.is_err() || revision.is_some_and(|it| found.value().revision() > it) {
                return 0; // what was there before it is among the kept
            }
            if is_over(&found, clock) {
                return EACH;
            }
            match copy(&found, read_until_now) {
                Ok(bytes) => bytes + EACH,
                Err(refused) => {
                    failed = Err(refused);
                    budget
                }
            }
        });
        failed?;
        if let Some(noted) = &items.noted {
            if let About::Rest(position) = &noted.snapshot.about {
                *lock(position) = items.position;
            }
        }
        Ok(match items.position {
            Position::End => Left::Nothing,
            Position::At(_) => Left::More,
        })
    }
}

impl Items<'_> {
    fn has_failed(&self) -> bool {
        let noted = self.noted.as_ref();
        noted.is_some_and(|noted| noted.snapshot.has_failed())
    }

    /// All of them, once nothing is left; `None` if it failed meanwhile.
    pub(crate) fn finish(self) -> Result<Option<Vec<(Text, Value)>>, Error> {
        let mut read = self.read;
        if let Some(noted) = self.noted {
            let mut kept = noted.snapshot.take_kept();
            if noted.snapshot.has_failed() {
                return Ok(None);
            }
            // Before the instant was known more was kept than is of it.
            let revision = noted.snapshot.revision();
            kept.retain(|kept| kept.is_of(revision) && kept.lives(&self.clock));
            memory::reserve(&mut read, kept.len())?;
            read.extend(kept.into_iter().map(|kept| (kept.key, kept.value)));
        }
        Ok(Some(read))
    }
}
