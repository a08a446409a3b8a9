//! Many keys read as they are at one instant.

use super::contents::{Contents, Unread};
use super::key::Key;
use super::reading::{read, try_read, Owned, Tried};
use super::snapshot::{About, Filter, Kept, Snapshot};
use super::stored::Stored;
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::{back_off, lock, Mutex, Ordering};
use crate::table::{Closed, Found, Position};
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
    fn get_with_revision(&self, key: Key<'_>) -> Result<Option<(Value, u64)>, Unread> {
        self.resolve(key, &reclaim::pin(), |look| {
            let revision = look.revision();
            match try_read(look, Owned) {
                Tried::Read(value) => Tried::Read((value, revision)),
                Tried::NoMemory => Tried::NoMemory,
                Tried::Torn => Tried::Torn,
            }
        })
    }

    /// Reads the keys without being noticed; `None` if there was a change meanwhile.
    fn get_many_between_changes(&self, keys: &[Key<'_>]) -> Result<Option<Many>, Error> {
        let Some(last) = self.revisions.between_changes() else {
            return Ok(None);
        };
        let mut values = room_for(keys.len())?;
        for chunk in keys.chunks(CHUNK) {
            let pinned = reclaim::pin();
            for key in chunk {
                let value = self.resolve(*key, &pinned, |look| try_read(look, Owned));
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
        // Known from here on, so that no more is kept than is of it.
        let revision = self.revisions.begun();
        noted.snapshot.set_revision(revision);
        let mut step = 0;
        while self.revisions.committed() < revision {
            if step == WAITS {
                return Ok(None); // a batch, perhaps
            }
            back_off(step);
            step += 1;
        }
        let mut values = room_for(keys.len())?;
        let mut missing = Vec::new();
        for key in keys {
            match self.get_with_revision(*key) {
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
        kept.retain(|kept| kept.is_of(revision));
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

/// What a snapshot keeps of an entry.
pub(crate) trait Item {
    fn new(key: Text, value: Value, revision: u64) -> Self;
}

impl Item for (Text, Value) {
    fn new(key: Text, value: Value, _revision: u64) -> (Text, Value) {
        (key, value)
    }
}

/// Copies an entry; answers its bytes.
fn copy<T: Item>(found: &Found<'_, Stored>, to: &mut Vec<T>) -> Result<usize, Error> {
    let (key, value) = (Text::copy(found.key())?, read(found)?);
    let bytes = key.len() + value.as_bytes().map_or(0, <[u8]>::len);
    grow(to)?;
    to.push(T::new(key, value, found.value().revision()));
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
pub(crate) struct Items<'c, T> {
    contents: &'c Contents,
    in_slices: bool,
    /// `None`: all is to be read in one slice.
    noted: Option<Noted<'c>>,
    position: Position,
    read: Vec<T>,
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
    pub(crate) fn items<T: Item>(&self, in_slices: bool) -> Items<'_, T> {
        Items {
            contents: self,
            in_slices,
            noted: None,
            position: Position::BEGINNING,
            read: Vec::new(),
        }
    }
}

impl Exclusive<'_, Contents> {
    /// Many values as they are at one instant; `None` where a key is absent.
    pub(crate) fn get_many(&self, keys: &[Key<'_>]) -> Result<Many, Error> {
        let pinned = reclaim::pin();
        let mut values = room_for(keys.len())?;
        for key in keys {
            let found = self.writer(&pinned).get(key.hash, key);
            let found = found.map_err(|Closed| Error::NoProcess)?;
            values.push(found.as_ref().map(read).transpose()?);
        }
        Ok(values)
    }

    /// The instant is now.
    pub(crate) fn begin_items<T: Item>(&self, items: &mut Items<'_, T>) -> Result<(), Error> {
        items.read = room_for(self.count()?)?;
        if items.in_slices {
            let about = About::Rest(Mutex::new(Position::BEGINNING));
            let snapshot = Snapshot::new(about);
            snapshot.set_revision(self.revisions.committed());
            items.noted = Noted::new(items.contents, snapshot).ok();
        }
        Ok(())
    }

    pub(crate) fn continue_items<T: Item>(&self, items: &mut Items<'_, T>) -> Result<Left, Error> {
        if items.has_failed() {
            return Ok(Left::All);
        }
        let pinned = reclaim::pin();
        self.count()?; // fails if it is closed
        let revision = items.noted.as_ref().map(|noted| noted.snapshot.revision());
        let (read_until_now, in_slices) = (&mut items.read, items.noted.is_some());
        let mut failed = Ok(());
        let budget = if in_slices { SLICE } else { usize::MAX };
        items.position = self.writer(&pinned).scan(items.position, budget, |found| {
            if failed.is_err() || revision.is_some_and(|it| found.value().revision() > it) {
                return 0; // what was there before it is among the kept
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

impl<T: Item> Items<'_, T> {
    fn has_failed(&self) -> bool {
        let noted = self.noted.as_ref();
        noted.is_some_and(|noted| noted.snapshot.has_failed())
    }

    /// All of them, once nothing is left; `None` if it failed meanwhile.
    pub(crate) fn finish(self) -> Result<Option<Vec<T>>, Error> {
        let mut read = self.read;
        if let Some(noted) = self.noted {
            let mut kept = noted.snapshot.take_kept();
            if noted.snapshot.has_failed() {
                return Ok(None);
            }
            // Before the instant was known more was kept than is of it.
            kept.retain(|kept| kept.is_of(noted.snapshot.revision()));
            memory::reserve(&mut read, kept.len())?;
            read.extend(
                kept.into_iter()
                    .map(|kept| T::new(kept.key, kept.value, kept.from)),
            );
        }
        Ok(Some(read))
    }
}
