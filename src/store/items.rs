//! All keys as they are at one instant.

use super::contents::Contents;
use super::many::{grow, room_for, Noted};
use super::reading::read;
use super::snapshot::{About, Snapshot};
use super::stored::Stored;
use crate::error::Error;
use crate::memory;
use crate::reclaim;
use crate::server::Exclusive;
use crate::sync::{lock, Mutex};
use crate::table::{Found, Position};
use crate::value::{Text, Value};

/// Bytes that are copied in one slice of a snapshot: a put waits no longer for it. An entry counts
/// for so many at least.
const SLICE: usize = 256 << 10;
const EACH: usize = 256;

/// In the place of a time to live: the key stays for ever.
pub(crate) const NO_TTL: i64 = -1;

/// A key, and all that is known of it.
pub(crate) struct Item {
    pub(crate) key: Text,
    pub(crate) value: Value,
    /// Of the change that stored the value.
    pub(crate) revision: u64,
    /// What is left of its time to live, in milliseconds, or [`NO_TTL`].
    pub(crate) ttl_ms: i64,
}

impl Item {
    /// A copy of an entry as it is now. The writer's.
    pub(super) fn of(found: &Found<'_, Stored>) -> Result<Item, Error> {
        Ok(Item {
            key: Text::copy(found.key())?,
            value: read(found)?,
            revision: found.value().revision(),
            ttl_ms: NO_TTL,
        })
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.value.as_bytes().map_or(0, <[u8]>::len)
    }
}

/// All keys and values at one instant, read in slices.
pub(crate) struct Items<'c> {
    contents: &'c Contents,
    in_slices: bool,
    /// `None`: all is to be read in one slice.
    noted: Option<Noted<'c>>,
    position: Position,
    read: Vec<Item>,
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
        }
    }
}

impl Exclusive<'_, Contents> {
    /// The instant is now.
    pub(crate) fn begin_items(&self, items: &mut Items<'_>) -> Result<(), Error> {
        items.read = room_for(self.count()?)?;
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

impl Items<'_> {
    fn has_failed(&self) -> bool {
        let noted = self.noted.as_ref();
        noted.is_some_and(|noted| noted.snapshot.has_failed())
    }

    /// All of them, once nothing is left; `None` if it failed meanwhile.
    pub(crate) fn finish(self) -> Result<Option<Vec<Item>>, Error> {
        let mut read = self.read;
        if let Some(noted) = self.noted {
            let mut kept = noted.snapshot.take_kept();
            if noted.snapshot.has_failed() {
                return Ok(None);
            }
            // Before the instant was known more was kept than is of it.
            kept.retain(|kept| kept.is_of(noted.snapshot.revision()));
            memory::reserve(&mut read, kept.len())?;
            read.extend(kept.into_iter().map(|kept| kept.item));
        }
        Ok(Some(read))
    }
}

/// Copies an entry; answers its bytes.
fn copy(found: &Found<'_, Stored>, to: &mut Vec<Item>) -> Result<usize, Error> {
    grow(to)?;
    let item = Item::of(found)?;
    let bytes = item.bytes();
    to.push(item);
    Ok(bytes)
}
