//! A value in the table, which a writer may change in its place while readers copy it.
//!
//! **Argument.** A sequence lock: the writer (there is one at a time) makes `version` odd,
//! then changes, then makes it even again (Release). A reader takes the version (Acquire),
//! copies, passes a fence and takes the version again: if both are the same even number, no
//! change was under way, and what it copied belongs together. All parts are atomics, so a copy
//! that is thrown away was no data race. A shared value is never changed in its place, nor is
//! anything changed into one: its count would be touched by readers that hold none.

use std::mem::ManuallyDrop;

use crate::error::Error;
use crate::sync::raw_arc;
use crate::sync::{back_off, fence, will_write, Arc, AtomicU32, AtomicU64, Ordering};
use crate::value::{Blob, ValueRef, COPY_LIMIT};

const NIL: u32 = 0;
const BOOL: u32 = 1;
const INT: u32 = 2;
const FLOAT: u32 = 3;
const STRING: u32 = 4;
const BYTES: u32 = 5;
const SHARED_STRING: u32 = 6;
const SHARED_BYTES: u32 = 7;

/// Above the type of a text that is not shared: its length.
const LEN_SHIFT: u32 = 8;

pub(crate) struct Stored {
    version: AtomicU32,
    /// Type and length.
    what: AtomicU32,
    /// A number, or the address of a shared text of which this holds a count.
    word: AtomicU64,
}

impl Stored {
    /// The text of a small one belongs behind it; see [`tail_of`].
    pub(crate) fn new(value: ValueRef<'_>) -> Result<Stored, Error> {
        let (what, word) = match (parts(value), value) {
            (Some(parts), _) => parts,
            (None, ValueRef::String(text)) => (SHARED_STRING, share(text.as_bytes())?),
            (None, ValueRef::Bytes(bytes)) => (SHARED_BYTES, share(bytes)?),
            (None, _) => unreachable!("only texts are shared"),
        };
        Ok(Stored {
            version: AtomicU32::new(0),
            what: AtomicU32::new(what),
            word: AtomicU64::new(word),
        })
    }

    /// Changes the value in its place, with what `tail` has room for; `false` if it cannot be
    /// done there. The writer's.
    #[inline(always)]
    pub(crate) fn overwrite(&self, tail: &[AtomicU64], value: ValueRef<'_>) -> bool {
        let text = tail_of(value);
        let Some((what, word)) = parts(value) else {
            return false;
        };
        if !self.has_place_for(tail, text) {
            return false;
        }
        // Readers on other processors have these lines: all are fetched at once, and not one
        // after another while readers are kept out.
        will_write(self);
        if let Some(last) = tail.last() {
            will_write(last);
        }
        let version = self.version.load(Ordering::Relaxed);
        self.version
            .store(version.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        self.what.store(what, Ordering::Relaxed);
        self.word.store(word, Ordering::Relaxed);
        write_words(tail, text);
        self.version
            .store(version.wrapping_add(2), Ordering::Release);
        true
    }

    /// Whether `overwrite` can do it, which does not change by what it does.
    pub(crate) fn can_become(&self, tail: &[AtomicU64], value: ValueRef<'_>) -> bool {
        parts(value).is_some() && self.has_place_for(tail, tail_of(value))
    }

    #[inline(always)]
    fn has_place_for(&self, tail: &[AtomicU64], text: &[u8]) -> bool {
        let room = size_of_val(tail);
        // Room that would be wasted is given back.
        !self.is_shared() && text.len() <= room && (room <= 128 || text.len() >= room / 4)
    }

    #[inline(always)]
    pub(crate) fn is_shared(&self) -> bool {
        self.what.load(Ordering::Relaxed) & 0xff >= SHARED_STRING
    }

    /// What is shared instead of copied, if the value is large.
    #[inline(always)]
    fn shared(&self) -> Option<ManuallyDrop<Arc<Blob>>> {
        let what = self.what.load(Ordering::Relaxed);
        // SAFETY: both are those of the value, which does not change if it is shared.
        unsafe { shared(what, self.word.load(Ordering::Relaxed)) }
    }

    /// Begins to copy the value.
    #[inline(always)]
    pub(crate) fn look<'a>(&'a self, tail: &'a [AtomicU64]) -> Look<'a> {
        let mut step = 0;
        loop {
            let version = self.version.load(Ordering::Acquire);
            if version & 1 == 0 {
                return Look {
                    stored: self,
                    tail,
                    version,
                    what: self.what.load(Ordering::Relaxed),
                    word: self.word.load(Ordering::Relaxed),
                };
            }
            // The writer needs the line to come to its end, and perhaps a processor.
            back_off(step);
            step += 1;
        }
    }

    /// The bytes of the value; a number has 8. The writer's.
    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        let what = self.what.load(Ordering::Relaxed);
        match (what & 0xff, self.shared()) {
            (_, Some(blob)) => blob.bytes().len(),
            (INT | FLOAT, None) => 8,
            _ => (what >> LEN_SHIFT) as usize,
        }
    }
}

/// # Safety
/// Type and number are those of one value, which has not been dropped.
#[inline(always)]
unsafe fn shared(what: u32, word: u64) -> Option<ManuallyDrop<Arc<Blob>>> {
    (what & 0xff >= SHARED_STRING).then(|| {
        // SAFETY: the count that `share` gave away. It is not dropped here.
        unsafe { raw_arc::kept(std::ptr::with_exposed_provenance(word as usize)) }
    })
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Some(blob) = self.shared() {
            drop(ManuallyDrop::into_inner(blob)); // nobody has the value any more
        }
    }
}

/// A value that is being copied: what is read of it counts only if it still `holds`
/// afterwards.
pub(crate) struct Look<'a> {
    stored: &'a Stored,
    tail: &'a [AtomicU64],
    version: u32,
    what: u32,
    word: u64,
}

impl<'a> Look<'a> {
    /// Whether all that was read until now belongs together.
    #[inline(always)]
    pub(crate) fn holds(&self) -> bool {
        fence(Ordering::Acquire);
        self.stored.version.load(Ordering::Relaxed) == self.version
    }

    /// The value, but for texts.
    #[inline(always)]
    pub(crate) fn scalar(&self) -> Option<ValueRef<'static>> {
        Some(match self.what & 0xff {
            NIL => ValueRef::Nil,
            BOOL => ValueRef::Bool(self.word != 0),
            INT => ValueRef::Int(self.word as i64),
            FLOAT => ValueRef::Float(f64::from_bits(self.word)),
            _ => return None,
        })
    }

    /// Whether a text is UTF-8.
    #[inline(always)]
    pub(crate) fn is_string(&self) -> bool {
        self.what % 2 == STRING % 2
    }

    /// What is shared of the value instead of copied: good as long as the reader is pinned. It
    /// holds, whatever becomes of the rest: a shared value is never changed in its place.
    #[inline(always)]
    pub(crate) fn shared(&self) -> Option<ManuallyDrop<Arc<Blob>>> {
        // SAFETY: what once was of a shared value still is. The type was loaded after all
        // that was stored before, and the number after it.
        unsafe { shared(self.what, self.word) }
    }

    /// Of a text that is not shared. Never more than the tail has: no type was ever stored
    /// with more, whatever was read since.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        (self.what >> LEN_SHIFT) as usize
    }

    /// Whether it is a text that is not shared.
    #[inline(always)]
    pub(crate) fn is_small_text(&self) -> bool {
        matches!(self.what & 0xff, STRING | BYTES)
    }

    /// Copies the text.
    ///
    /// # Safety
    /// `to` may be written for `len` bytes.
    #[inline(always)]
    pub(crate) unsafe fn copy_to(&self, to: *mut u8) {
        let len = self.len();
        let (whole, rest) = (len / 8, len % 8);
        // SAFETY: so many bytes, by contract, and no more than the tail has; in steps of whole
        // words, as they were written.
        unsafe {
            for at in 0..whole {
                let word = self.tail.get_unchecked(at).load(Ordering::Relaxed);
                to.add(at * 8).cast::<u64>().write_unaligned(word);
            }
            if rest > 0 {
                let word = self.tail.get_unchecked(whole).load(Ordering::Relaxed);
                let word = word.to_ne_bytes();
                std::ptr::copy_nonoverlapping(word.as_ptr(), to.add(whole * 8), rest);
            }
        }
    }
}

/// Type, length and number of a value that is not shared.
#[inline(always)]
fn parts(value: ValueRef<'_>) -> Option<(u32, u64)> {
    Some(match value {
        ValueRef::Nil => (NIL, 0),
        ValueRef::Bool(value) => (BOOL, value.into()),
        ValueRef::Int(value) => (INT, value as u64),
        ValueRef::Float(value) => (FLOAT, value.to_bits()),
        ValueRef::String(text) if is_small(text.as_bytes()) => {
            (STRING | (text.len() as u32) << LEN_SHIFT, 0)
        }
        ValueRef::Bytes(bytes) if is_small(bytes) => (BYTES | (bytes.len() as u32) << LEN_SHIFT, 0),
        _ => return None,
    })
}

#[inline]
fn is_small(text: &[u8]) -> bool {
    text.len() <= COPY_LIMIT
}

/// What belongs behind the value.
#[inline(always)]
pub(crate) fn tail_of(value: ValueRef<'_>) -> &[u8] {
    let text = value.text();
    match is_small(text) {
        true => text,
        false => b"",
    }
}

/// Bytes by words, as far as there are places; the last one is filled up with zeros.
#[inline(always)]
fn write_words(places: &[AtomicU64], bytes: &[u8]) {
    let whole = bytes.chunks_exact(8);
    let rest = whole.remainder();
    let mut places = places.iter();
    for word in whole {
        let Some(place) = places.next() else { return };
        let word = word.try_into().map(u64::from_ne_bytes).unwrap_or(0);
        place.store(word, Ordering::Relaxed);
    }
    if let (Some(place), 1..) = (places.next(), rest.len()) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        place.store(u64::from_ne_bytes(word), Ordering::Relaxed);
    }
}

fn share(bytes: &[u8]) -> Result<u64, Error> {
    Ok(raw_arc::keep(Blob::new(bytes)?).expose_provenance() as u64)
}
