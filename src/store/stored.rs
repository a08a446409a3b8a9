//! A value in the table, which a writer may change in its place while readers copy it.
//!
//! **Argument.** A sequence lock: the writer (there is one at a time) makes the version in `state`
//! odd, then changes what is behind it, then stores the next even version with the new type and
//! length (Release). A reader takes `state` (Acquire), copies, passes a fence and takes `state`
//! again: if both are the same, of an even version, no change was under way, and what it copied
//! belongs together. All parts are atomics or copied by `sync::racing`, so a copy that is thrown
//! away was no data race. A shared value is never changed in its place, nor is anything changed
//! into one: its count would be touched by readers that hold none.
//!
//! A version has 32 bits: a reader would have to sleep through two thousand million changes of
//! one value, to the very number, to be deceived.

mod life;

use std::mem::ManuallyDrop;

use crate::sync::racing::{copy_in, copy_out};
use crate::sync::{back_off, fence, will_write, AtomicU64, Ordering};
use crate::table::{Staged, TableValue};
use crate::value::{Shared, ValueRef, COPY_LIMIT};

pub(crate) use life::Life;

const NIL: u32 = 0;
const BOOL: u32 = 1;
const INT: u32 = 2;
const FLOAT: u32 = 3;
const STRING: u32 = 4;
const BYTES: u32 = 5;
const SHARED_STRING: u32 = 6;
const SHARED_BYTES: u32 = 7;

/// The bits of the type.
const KIND: u32 = 7;

/// The key has a time to live: the last word of the tail is its `Life`.
const TIMED: u32 = 8;

/// Above the type of a text that is not shared: its length.
const LEN_SHIFT: u32 = 8;

const VERSION: u64 = 1 << 32;

/// How often a reader looks again before it lets the writer be.
const LOOKS: u32 = 8;

/// The value counts only when its batch does: see `table::Batch`. Its version is odd as long.
const STAGED: u64 = 1 << 6;
/// The value is one of a batch that has another one for the key. Its version is odd for ever.
const WITHDRAWN: u64 = 1 << 7;
/// There is no value: the key is absent once the batch counts. Staged or withdrawn for ever.
const TOMBSTONE: u64 = 1 << 4;

/// What is said in the byte of the type beside the type.
const FLAGS: u32 = (STAGED | WITHDRAWN | TOMBSTONE) as u32;

/// The words behind it belong to it: the text of a small value, a number, or the address of a
/// shared text of which this holds a count.
pub(crate) struct Stored {
    /// Type and length, and above them the version.
    state: AtomicU64,
    /// Of the change that stored it.
    revision: AtomicU64,
}

/// Why a value cannot be read as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// A writer is in the middle of a change, and does not come to its end: perhaps it has lost its
    /// processor.
    Busy,
    /// It is a batch's, and may not count yet.
    Staged,
    /// The key has another entry.
    Withdrawn,
}

impl TableValue for Stored {
    unsafe fn release(&self, tail: &[AtomicU64]) {
        // SAFETY: both are those of the value, by contract.
        if let Some(shared) = unsafe { shared(self.what(), tail) } {
            drop(ManuallyDrop::into_inner(shared));
        }
    }
}

impl Staged for Stored {
    fn is_staged(&self) -> bool {
        self.state.load(Ordering::Relaxed) & STAGED != 0
    }

    fn is_withdrawn(&self) -> bool {
        self.state.load(Ordering::Relaxed) & WITHDRAWN != 0
    }

    fn is_tombstone(&self) -> bool {
        self.state.load(Ordering::Relaxed) & TOMBSTONE != 0
    }

    fn settle(&self) {
        let state = self.state.load(Ordering::Relaxed) & !(STAGED | VERSION);
        self.state.store(state, Ordering::Release);
    }

    fn withdraw(&self) {
        let state = self.state.load(Ordering::Relaxed) & !STAGED;
        self.state.store(state | WITHDRAWN, Ordering::Release);
    }
}

/// How many words a tail has at least: a value of any type but text can follow any other.
pub(crate) const MIN_TAIL: usize = 1;

impl Stored {
    /// A value that is not shared; its tail belongs behind it.
    #[inline(always)]
    pub(crate) fn small(value: &Small<'_>, revision: u64) -> Stored {
        Stored::of(value.what(), revision)
    }

    /// A text that is shared, and what belongs behind it; the count goes with the entry.
    pub(crate) fn shared(is_string: bool, shared: &Shared) -> (Stored, [u8; 8]) {
        let what = match is_string {
            true => SHARED_STRING,
            false => SHARED_BYTES,
        };
        let address = shared.address() as u64;
        (Stored::of(what, 0), address.to_ne_bytes())
    }

    /// What a batch puts in the place of an entry that it takes out.
    pub(crate) fn tombstone() -> Stored {
        let stored = Stored::of(NIL, 0);
        stored
            .state
            .store(TOMBSTONE | u64::from(NIL), Ordering::Relaxed);
        stored
    }

    #[inline(always)]
    fn of(what: u32, revision: u64) -> Stored {
        Stored {
            state: AtomicU64::new(what.into()),
            revision: AtomicU64::new(revision),
        }
    }

    #[inline(always)]
    fn what(&self) -> u32 {
        self.state.load(Ordering::Relaxed) as u32 & !FLAGS
    }

    /// Of one that is in no table yet.
    pub(crate) fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    /// Of one that is in no table yet, and is a number.
    pub(crate) fn set_number(&self, tail: &[AtomicU64], number: i64) {
        if let Some(first) = tail.first() {
            first.store(number as u64, Ordering::Relaxed);
        }
    }

    /// Of one that is in no table yet: it belongs to a batch.
    pub(crate) fn stage(&self, revision: u64) {
        let state = self.state.load(Ordering::Relaxed);
        self.state
            .store(state | STAGED | VERSION, Ordering::Relaxed);
        self.set_revision(revision);
    }

    /// Of the change that stored it. Good for a staged value, and for the writer.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Whether `overwrite` can do it, which does not change by what it does.
    #[inline(always)]
    pub(crate) fn can_become(&self, tail: &[AtomicU64], value: &Small<'_>) -> bool {
        let mut room = size_of_val(tail);
        let mut len = value.text.len();
        if value.is_timed() {
            // What is no text has a word too.
            (room, len) = (room - 8, len.max(8));
        }
        // Room that would be wasted is given back.
        !is_shared(self.what()) && len <= room && (room <= 128 || len >= room / 4)
    }

    /// Changes the value in its place. The writer's, who has asked whether it can.
    #[inline(always)]
    pub(crate) fn overwrite(&self, tail: &[AtomicU64], value: &Small<'_>, revision: u64) {
        // Readers on other processors have these lines: all are fetched at once, and not one
        // after another while readers are kept out.
        will_write(self);
        if let Some(last) = tail.last() {
            will_write(last);
        }
        self.keep_readers_out();
        self.write_kept_out(tail, value, revision);
        self.let_readers_see(value);
    }

    /// Its state, if it is of the same type and length as the other, and neither has a time to
    /// live: then there is room. The writer's, between its changes.
    #[inline(always)]
    pub(crate) fn alike(&self, value: &Small<'_>) -> Option<Alike> {
        let state = self.state.load(Ordering::Relaxed);
        // One that is staged or withdrawn says so there too.
        (state as u32 == value.what() && !value.is_timed()).then_some(Alike(state))
    }

    /// As `overwrite`, of a value that is alike.
    #[inline(always)]
    pub(crate) fn overwrite_alike(
        &self,
        Alike(state): Alike,
        tail: &[AtomicU64],
        value: &Small<'_>,
        revision: u64,
    ) {
        debug_assert!(state & VERSION == 0 && size_of_val(tail) >= value.text.len());
        will_write(self);
        will_write(tail.as_ptr().wrapping_add(tail.len().wrapping_sub(1)));
        self.state
            .store(state.wrapping_add(VERSION), Ordering::Relaxed);
        fence(Ordering::Release);
        self.revision.store(revision, Ordering::Relaxed);
        if value.is_text() {
            // SAFETY: there is room, since a text of this length is there.
            unsafe { copy_in(tail, value.text) };
        } else if let Some(first) = tail.first() {
            first.store(u64::from_ne_bytes(value.word), Ordering::Relaxed);
        }
        self.state
            .store(state.wrapping_add(2 * VERSION), Ordering::Release);
    }

    /// Its state and the value, if it is an integer without a time to live. The writer's.
    #[inline(always)]
    pub(crate) fn plain_int(&self, tail: &[AtomicU64]) -> Option<(Alike, i64)> {
        let state = self.state.load(Ordering::Relaxed);
        let word = tail.first()?.load(Ordering::Relaxed);
        (state as u32 == INT).then_some((Alike(state), word as i64))
    }

    /// The first of three steps of `overwrite`: from here on readers wait. Answers `false`, with
    /// nothing done, if they do already.
    #[inline(always)]
    pub(crate) fn keep_readers_out(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        if state & VERSION != 0 {
            return false;
        }
        self.state
            .store(state.wrapping_add(VERSION), Ordering::Relaxed);
        fence(Ordering::Release);
        true
    }

    /// Readers go on, with the value that there was.
    pub(crate) fn let_readers_in(&self) {
        let state = self.state.load(Ordering::Relaxed);
        self.state
            .store(state.wrapping_add(VERSION), Ordering::Release);
    }

    /// The second step: what belongs behind the value, for which `can_become` has found room.
    #[inline(always)]
    pub(crate) fn write_kept_out(&self, tail: &[AtomicU64], value: &Small<'_>, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
        if value.is_text() {
            if value.text.len() <= size_of_val(tail) && !tail.is_empty() {
                // SAFETY: there is room.
                unsafe { copy_in(tail, value.text) };
            }
        } else if let Some(first) = tail.first() {
            first.store(u64::from_ne_bytes(value.word), Ordering::Relaxed);
        }
        if let (true, Some(last)) = (value.is_timed(), tail.last()) {
            last.store(value.life, Ordering::Relaxed);
        }
    }

    /// The last step: readers go on, with this value.
    #[inline(always)]
    pub(crate) fn let_readers_see(&self, value: &Small<'_>) {
        let version = self.state.load(Ordering::Relaxed) & !(VERSION - 1);
        let state = version.wrapping_add(VERSION) | value.what;
        self.state.store(state, Ordering::Release);
    }

    /// A count of a value that is shared. The writer's, or of an entry in no table.
    pub(crate) fn share(&self, tail: &[AtomicU64]) -> Option<Shared> {
        // SAFETY: both are those of the value.
        unsafe { shared(self.what(), tail) }.map(|shared| (*shared).clone())
    }

    /// Whether a text is UTF-8.
    pub(crate) fn is_string(&self) -> bool {
        self.what() % 2 == STRING % 2
    }

    #[inline(always)]
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(self.what())
    }

    /// Begins to copy the value.
    #[inline(always)]
    pub(crate) fn look<'a>(&'a self, tail: &'a [AtomicU64]) -> Result<Look<'a>, Obstacle> {
        let state = self.state.load(Ordering::Acquire);
        match state & VERSION {
            0 => Ok(Look::new(self, tail, state)),
            _ => self.look_again(tail),
        }
    }

    #[cold]
    fn look_again<'a>(&'a self, tail: &'a [AtomicU64]) -> Result<Look<'a>, Obstacle> {
        for step in 0..LOOKS {
            let state = self.state.load(Ordering::Acquire);
            if state & STAGED != 0 {
                return Err(Obstacle::Staged);
            }
            if state & WITHDRAWN != 0 {
                return Err(Obstacle::Withdrawn);
            }
            if state & VERSION == 0 {
                return Ok(Look::new(self, tail, state));
            }
            // The writer needs the line to come to its end, and perhaps a processor.
            back_off(step);
        }
        Err(Obstacle::Busy)
    }

    /// Begins to copy a staged value that counts by now; `None` if it is an ordinary one again.
    pub(crate) fn look_at_staged<'a>(&'a self, tail: &'a [AtomicU64]) -> Option<Look<'a>> {
        let state = self.state.load(Ordering::Acquire);
        (state & STAGED != 0).then(|| Look::new(self, tail, state))
    }

    /// The bytes of the value; a number has 8. The writer's.
    #[inline(always)]
    pub(crate) fn size(&self, tail: &[AtomicU64]) -> usize {
        // SAFETY: both are those of the value.
        match unsafe { shared(self.what(), tail) } {
            Some(shared) => shared.bytes().len(),
            None => self.small_size(),
        }
    }

    /// The value, if it is an integer. The writer's.
    #[inline(always)]
    pub(crate) fn int(&self, tail: &[AtomicU64]) -> Option<i64> {
        let word = tail.first()?.load(Ordering::Relaxed);
        (self.what() & !TIMED == INT).then_some(word as i64)
    }

    /// As `size`, of a value that is not shared.
    #[inline(always)]
    pub(crate) fn small_size(&self) -> usize {
        size_of_small(self.what())
    }
}

#[inline(always)]
fn is_shared(what: u32) -> bool {
    what & KIND >= SHARED_STRING
}

/// # Safety
/// The type is that of a value which these words belong to, and which has not been released.
#[inline(always)]
unsafe fn shared(what: u32, tail: &[AtomicU64]) -> Option<ManuallyDrop<Shared>> {
    if !is_shared(what) {
        return None;
    }
    let address = tail.first()?.load(Ordering::Relaxed);
    // SAFETY: the count that `share` gave away. It is not dropped here.
    Some(unsafe { Shared::at(address as usize) })
}

/// A value that is being copied: what is read of it counts only if it still `holds`
/// afterwards.
pub(crate) struct Look<'a> {
    stored: &'a Stored,
    tail: &'a [AtomicU64],
    state: u64,
}

impl<'a> Look<'a> {
    /// Whether it is of this one.
    pub(super) fn is_of(&self, stored: &Stored) -> bool {
        std::ptr::eq(self.stored, stored)
    }

    #[inline(always)]
    fn new(stored: &'a Stored, tail: &'a [AtomicU64], state: u64) -> Look<'a> {
        Look {
            stored,
            tail,
            state,
        }
    }

    /// Type and length. No field: half a word that was written is slow to read with its other half.
    #[inline(always)]
    fn what(&self) -> u32 {
        self.state as u32 & !(STAGED as u32)
    }

    /// Of the change that stored the value.
    pub(crate) fn revision(&self) -> u64 {
        self.stored.revision.load(Ordering::Relaxed)
    }

    /// Whether all that was read until now belongs together.
    #[inline(always)]
    pub(crate) fn holds(&self) -> bool {
        fence(Ordering::Acquire);
        self.stored.state.load(Ordering::Relaxed) == self.state
    }

    /// The value, but for texts.
    #[inline(always)]
    pub(crate) fn scalar(&self) -> Option<ValueRef<'static>> {
        let word = || {
            let first = self.tail.first();
            first.map_or(0, |word| word.load(Ordering::Relaxed))
        };
        Some(match self.what() & KIND {
            NIL => ValueRef::Nil,
            BOOL => ValueRef::Bool(word() != 0),
            INT => ValueRef::Int(word() as i64),
            FLOAT => ValueRef::Float(f64::from_bits(word())),
            _ => return None,
        })
    }

    /// Whether a text is UTF-8.
    #[inline(always)]
    pub(crate) fn is_string(&self) -> bool {
        self.what() % 2 == STRING % 2
    }

    /// What is shared of the value instead of copied: good as long as the reader is pinned. It
    /// holds, whatever becomes of the rest: a shared value is never changed in its place.
    #[inline(always)]
    pub(crate) fn shared(&self) -> Option<ManuallyDrop<Shared>> {
        // SAFETY: what once was of a shared value still is.
        unsafe { shared(self.what(), self.tail) }
    }

    /// Of a text that is not shared. Never more than the tail has: no type was ever stored
    /// with more, whatever was read since.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        (self.what() >> LEN_SHIFT) as usize
    }

    /// Whether it is a text that is not shared.
    #[inline(always)]
    pub(crate) fn is_small_text(&self) -> bool {
        matches!(self.what() & KIND, STRING | BYTES)
    }

    /// Copies the text.
    ///
    /// # Safety
    /// `to` may be written for `len` bytes.
    #[inline(always)]
    pub(crate) unsafe fn copy_to(&self, to: *mut u8) {
        // SAFETY: by contract, and no more than the tail has; a tail has one word at least.
        unsafe { copy_out(self.tail, to, self.len()) }
    }
}

/// The state of a value that another one is like.
#[derive(Clone, Copy)]
pub(crate) struct Alike(u64);

/// A value that is not shared, taken apart once.
#[derive(Clone, Copy)]
pub(crate) struct Small<'a> {
    /// Type and length, in a whole word: half of one that was written is slow to read as a whole.
    what: u64,
    /// What is no text.
    word: [u8; 8],
    text: &'a [u8],
    /// The word of a `Life`, if it is timed.
    life: u64,
}

impl<'a> Small<'a> {
    /// `None` if it is a text that is to be shared.
    #[inline(always)]
    pub(crate) fn of(value: ValueRef<'a>) -> Option<Small<'a>> {
        match value {
            ValueRef::Nil => Some(Small::scalar(NIL, 0)),
            ValueRef::Bool(value) => Some(Small::scalar(BOOL, value.into())),
            ValueRef::Int(value) => Some(Small::int(value)),
            ValueRef::Float(value) => Some(Small::float(value)),
            ValueRef::String(text) => Small::of_text(true, text.as_bytes()),
            ValueRef::Bytes(text) => Small::of_text(false, text),
        }
    }

    /// As `of`, of a text that is UTF-8 or not.
    #[inline(always)]
    pub(crate) fn of_text(is_string: bool, text: &'a [u8]) -> Option<Small<'a>> {
        let what = if is_string { STRING } else { BYTES };
        is_small(text).then_some(Small {
            what: u64::from(what) | (text.len() as u64) << LEN_SHIFT,
            word: [0; 8],
            text,
            life: 0,
        })
    }

    #[inline(always)]
    fn scalar(what: u32, word: u64) -> Small<'static> {
        Small {
            what: what.into(),
            word: word.to_ne_bytes(),
            text: &[],
            life: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn float(value: f64) -> Small<'static> {
        Small::scalar(FLOAT, value.to_bits())
    }

    #[inline(always)]
    pub(crate) fn int(value: i64) -> Small<'static> {
        Small::scalar(INT, value as u64)
    }

    #[inline(always)]
    fn what(&self) -> u32 {
        self.what as u32
    }

    #[inline(always)]
    fn is_text(&self) -> bool {
        self.what() & KIND >= STRING
    }

    /// The bytes of a text.
    #[inline(always)]
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// The words of its tail, with one for a life if it is timed.
    #[inline(always)]
    pub(crate) fn words(&self) -> usize {
        let words = self.text.len().div_ceil(8).max(MIN_TAIL);
        words + usize::from(self.is_timed())
    }

    /// What it counts for, in bytes: a number has 8.
    #[inline(always)]
    pub(crate) fn size(&self) -> usize {
        size_of_small(self.what())
    }

    /// What belongs behind it.
    #[inline(always)]
    pub(crate) fn tail(&self) -> &[u8] {
        match self.is_text() {
            true => self.text,
            false => &self.word,
        }
    }
}

#[inline(always)]
fn size_of_small(what: u32) -> usize {
    match what & KIND {
        INT | FLOAT => 8,
        _ => (what >> LEN_SHIFT) as usize,
    }
}

#[inline(always)]
fn is_small(text: &[u8]) -> bool {
    text.len() <= COPY_LIMIT
}
