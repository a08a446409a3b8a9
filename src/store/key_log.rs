//! The log of a bucket's changed keys: a bounded ring, written by the bucket's one writer and read
//! by any thread.
//!
//! # The argument
//!
//! A position counts the words that were ever written; its place in the ring is its remainder. A
//! record lies in one piece: where it does not fit before the ring's end, a word says that the rest
//! is to be passed over. The writer first stores in `tail` what is no longer there when the new
//! record is, passes a releasing fence, copies the words in, and stores `head` (Release). A reader
//! finds `head` (Acquire) beyond its position, copies a record out, passes an acquiring fence and
//! looks at `tail`: if that has not passed its position, none of the words it copied was written
//! over; for whoever finds a word that a later record wrote finds the `tail` that was stored
//! before it. Otherwise what it copied may be torn, and it has fallen behind. The words are atomics or copied by
//! `sync::racing`, so what is thrown away was no data race. Neither waits for the other.

use std::alloc::{alloc_zeroed, Layout};

use super::armed_keys::ArmedKeys;
use crate::error::Error;
use crate::memory;
use crate::sync::racing::{copy_in, copy_out};
use crate::sync::{fence, AtomicU64, Ordering, ZEROS_ARE_ATOMICS};

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Put = 0,
    Deleted = 1,
    Expired = 2,
    Evicted = 3,
    /// All keys went at once; there is no key.
    Cleared = 4,
}

/// The rest of the ring is to be passed over.
const PASS: u64 = 0xff;

/// In front of the key: kind and length, and the revision.
const HEADER: usize = 2;

/// Words of a log: 4 MiB. A record of the longest key has a sixtieth of it. In the model it goes
/// around its end at once.
pub(crate) const WORDS: usize = if ZEROS_ARE_ATOMICS { 1 << 19 } else { 16 };

/// A place in the log, and how many records were written before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    position: u64,
    records: u64,
}

impl At {
    /// The later of two places.
    pub(super) fn later(self, other: At) -> At {
        match other.position > self.position {
            true => other,
            false => self,
        }
    }
}

/// What a reader found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The key is among what was copied.
    Of(Kind, u64),
    /// There is none yet.
    None,
    /// The log has passed the place.
    Gone,
}

#[repr(align(128))] // apart from what readers of the bucket look at
pub(crate) struct KeyLog {
    head: AtomicU64,
    tail: AtomicU64,
    records: AtomicU64,
    words: Box<[AtomicU64]>,
    /// Of those who wait at its end.
    pub(super) armed: ArmedKeys,
}

impl KeyLog {
    /// Of so many words, a power of two.
    pub(crate) fn new(words: usize) -> Result<KeyLog, Error> {
        Ok(KeyLog {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            records: AtomicU64::new(0),
            words: zeros(words)?,
            armed: ArmedKeys::new(),
        })
    }

    /// Where the next record will be.
    pub(crate) fn end(&self) -> At {
        // Counted first: it may lag behind the position, and then a reader seems further behind.
        let records = self.records.load(Ordering::Relaxed);
        let position = self.head.load(Ordering::Acquire);
        At { position, records }
    }

    /// Whether nothing was written since a reader was at the end.
    pub(crate) fn ends_at(&self, at: At) -> bool {
        self.head.load(Ordering::Acquire) == at.position
    }

    /// How many records a reader is behind.
    pub(crate) fn behind(&self, at: At) -> u64 {
        self.records
            .load(Ordering::Relaxed)
            .saturating_sub(at.records)
    }

    fn place(&self, position: u64) -> usize {
        position as usize & (self.words.len() - 1)
    }

    /// Adds a record; answers where it is. The writer's.
    pub(crate) fn add(&self, kind: Kind, revision: u64, key: &[u8]) -> At {
        let head = self.head.load(Ordering::Relaxed);
        let records = self.records.load(Ordering::Relaxed);
        let size = self.words.len();
        let len = HEADER + key.len().div_ceil(8);
        let left = size - self.place(head);
        let start = if len <= left {
            head
        } else {
            head + left as u64
        };
        let end = start + len as u64;
        let tail = end.saturating_sub(size as u64);
        if tail > self.tail.load(Ordering::Relaxed) {
            self.tail.store(tail, Ordering::Relaxed);
            fence(Ordering::Release);
        }
        if start != head {
            self.words[self.place(head)].store(PASS, Ordering::Relaxed);
        }
        let first = self.place(start);
        if let Some([what, of, places @ ..]) = self.words.get(first..first + len) {
            what.store(kind as u64 | (key.len() as u64) << 8, Ordering::Relaxed);
            of.store(revision, Ordering::Relaxed);
            if !key.is_empty() {
                // SAFETY: `len` has room for the key.
                unsafe { copy_in(places, key) };
            }
        }
        self.records.store(records + 1, Ordering::Relaxed);
        self.head.store(end, Ordering::Release);
        let position = start;
        At { position, records }
    }

    /// Copies the record at a place, and goes on behind it. The key is what `key` holds then; at
    /// `NoMemory` the reader stays where it is.
    pub(crate) fn read(&self, at: &mut At, key: &mut Vec<u8>) -> Result<Record, Error> {
        let head = self.head.load(Ordering::Acquire);
        if at.position == head {
            return Ok(Record::None);
        }
        let mut start = at.position;
        let mut what = self.words[self.place(start)].load(Ordering::Relaxed);
        if what & 0xff == PASS {
            start += (self.words.len() - self.place(start)) as u64;
            what = self.words[self.place(start)].load(Ordering::Relaxed);
        }
        let first = self.place(start);
        let revision = self.words.get(first + 1);
        let revision = revision.map_or(0, |it| it.load(Ordering::Relaxed));
        // Anything, if the record is torn.
        let key_len = (what >> 8) as usize;
        let words = key_len.div_ceil(8);
        key.clear();
        let places = first.checked_add(HEADER + words);
        let places = places.and_then(|end| self.words.get(first + HEADER..end));
        if let Some(places) = places.filter(|it| !it.is_empty()) {
            memory::reserve(key, key_len)?;
            // SAFETY: the places have so many bytes, and so has what was reserved; all are written.
            unsafe {
                copy_out(places, key.as_mut_ptr(), key_len);
                key.set_len(key_len);
            }
        }
        fence(Ordering::Acquire);
        if self.tail.load(Ordering::Relaxed) > at.position {
            return Ok(Record::Gone);
        }
        let kind = match what & 0xff {
            0 => Kind::Put,
            1 => Kind::Deleted,
            2 => Kind::Expired,
            3 => Kind::Evicted,
            _ => Kind::Cleared,
        };
        *at = At {
            position: start + (HEADER + words) as u64,
            records: at.records + 1,
        };
        Ok(Record::Of(kind, revision))
    }
}

/// Words that the system gives as zeros: a large log takes memory as it is used.
fn zeros(len: usize) -> Result<Box<[AtomicU64]>, Error> {
    if !ZEROS_ARE_ATOMICS {
        return Ok((0..len).map(|_| AtomicU64::new(0)).collect());
    }
    let layout = Layout::array::<AtomicU64>(len).map_err(|_| Error::NoMemory)?;
    // SAFETY: not of size zero; all bytes zero is an atomic of 0, and a box of a slice is freed with
    // this layout.
    unsafe {
        let words = memory::without_reserve(|| alloc_zeroed(layout)).cast::<AtomicU64>();
        if words.is_null() {
            return Err(Error::NoMemory);
        }
        Ok(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            words, len,
        )))
    }
}

#[cfg(all(test, feature = "capi"))] // not in the model, whose atomics need a scenario
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_order_around_the_end() {
        let log = KeyLog::new(64).unwrap();
        let (mut at, mut key) = (log.end(), Vec::new());
        for revision in 1..500u64 {
            let written = vec![revision as u8; revision as usize % 90];
            log.add(Kind::Put, revision, &written);
            assert_eq!(log.behind(at), 1);
            let record = log.read(&mut at, &mut key).unwrap();
            assert_eq!(record, Record::Of(Kind::Put, revision));
            assert_eq!(key, written);
            assert_eq!(log.read(&mut at, &mut key).unwrap(), Record::None);
            assert!(log.ends_at(at) && log.end() == at);
        }
    }

    #[test]
    fn who_was_passed_knows_it() {
        let log = KeyLog::new(64).unwrap();
        let (mut at, mut key) = (log.end(), Vec::new());
        for revision in 1..=21 {
            log.add(Kind::Deleted, revision, b"key");
        }
        assert_eq!(log.behind(at), 21);
        let record = log.read(&mut at, &mut key).unwrap();
        assert_eq!(record, Record::Of(Kind::Deleted, 1));
        log.add(Kind::Deleted, 22, b"key");
        assert_eq!(
            log.read(&mut at, &mut key).unwrap(),
            Record::Of(Kind::Deleted, 2)
        );
        log.add(Kind::Deleted, 23, b"key");
        log.add(Kind::Deleted, 24, b"key");
        log.add(Kind::Deleted, 25, b"key");
        assert_eq!(log.read(&mut at, &mut key).unwrap(), Record::Gone);
        assert_eq!(log.behind(at), 23);
    }
}
