//! Which keys are to be taken out when: a hierarchical timer wheel of the hashes of keys, the
//! writer's alone.
//!
//! Time is cut into ticks. A slot of the lowest level has the keys of one tick, one of the next
//! level those of 64 ticks, and so on; a key is put into the lowest level in which its tick and the
//! present one are in different slots. So what is in a lower level comes before all that is in a
//! higher one. When the time of a slot of a higher level comes, or the first key in it is due, its
//! keys are looked at, and those that are not due are put into lower levels. Each slot knows its
//! first deadline, so nobody need look at it earlier.
//!
//! A note is 7 bytes: what a table finds entries by of a hash, and a mark. A key's entry has the
//! mark of the one note that counts for it. A deadline that moves later leaves the note where it
//! is: it is looked at when its time comes, and moved on. One that moves earlier is noted anew; the
//! older note has another mark (or, once in 256 times, the same one, and is moved on too). Notes
//! that count for nothing go when their time comes; when they are more than half of all, they are
//! looked for, a few at each new note (`review`).

use std::alloc::{dealloc, Layout};
use std::ptr::NonNull;

use crate::error::Error;
use crate::memory;

/// Milliseconds: a key is swept so long after its time at most, and what takes the sweep.
const TICK_SHIFT: u32 = 8;

/// 2^(6 · 6) ticks are 557 years.
const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// The tick of a moment.
#[inline(always)]
fn tick_of(ms: u64) -> u64 {
    ms >> TICK_SHIFT
}

/// When all keys of the tick of a deadline are due.
#[inline(always)]
pub(super) fn due_at(deadline: u64) -> u64 {
    (tick_of(deadline) + 1) << TICK_SHIFT
}

/// Whether a deadline is noted early enough where another one is.
#[inline(always)]
pub(super) fn is_noted_by(noted: u64, deadline: u64) -> bool {
    tick_of(noted) <= tick_of(deadline)
}

/// A key that is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// See `table::LIKE`.
    pub(super) hash: u64,
    pub(super) mark: u8,
}

const NOTE: usize = 7;

impl Note {
    /// Of the 8 bytes of a hash without the two that say least.
    #[inline(always)]
    fn pack(self) -> [u8; NOTE] {
        let hash = self.hash.to_le_bytes();
        [
            hash[0], hash[1], hash[2], hash[3], hash[4], hash[7], self.mark,
        ]
    }

    #[inline(always)]
    fn unpack(bytes: [u8; NOTE]) -> Note {
        let [a, b, c, d, e, top, mark] = bytes;
        Note {
            hash: u64::from_le_bytes([a, b, c, d, e, 0, 0, top]),
            mark,
        }
    }
}

/// Notes in one allocation; the first in a slot are few.
#[repr(C)]
struct Chunk {
    next: Option<NonNull<Chunk>>,
    len: u16,
    room: u16,
    // followed by the notes
}

const FIRST_ROOM: u16 = 6;
const MOST_ROOM: u16 = 142; // a kilobyte, less what malloc adds

impl Chunk {
    fn layout(room: u16) -> Option<Layout> {
        let bytes = size_of::<Chunk>() + usize::from(room) * NOTE;
        Layout::from_size_align(bytes, align_of::<Chunk>()).ok()
    }
}

/// Notes, the last first.
#[derive(Default)]
struct Chain(Option<NonNull<Chunk>>);

// SAFETY: the owner of its chunks.
unsafe impl Send for Chain {}

impl Chain {
    fn is_empty(&self) -> bool {
        // SAFETY: this chain's own, as all chunks below.
        self.0
            .is_none_or(|chunk| unsafe { chunk.as_ref() }.len == 0 && self.is_single())
    }

    fn is_single(&self) -> bool {
        self.each().nth(1).is_none()
    }

    #[inline]
    fn push(&mut self, note: Note) -> Result<(), Error> {
        // SAFETY: chunks are this chain's own, and have room for as many notes as they say.
        unsafe {
            let mut chunk = match self.0 {
                Some(chunk) if (*chunk.as_ptr()).len < (*chunk.as_ptr()).room => chunk,
                _ => self.grow()?,
            };
            let chunk = chunk.as_mut();
            let notes = std::ptr::from_mut(chunk).add(1).cast::<[u8; NOTE]>();
            notes.add(usize::from(chunk.len)).write(note.pack());
            chunk.len += 1;
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self) -> Result<NonNull<Chunk>, Error> {
        // SAFETY: as above; a chunk is written before it is read.
        unsafe {
            let room = self.0.map_or(FIRST_ROOM, |before| {
                ((*before.as_ptr()).room * 2 + 2).min(MOST_ROOM)
            });
            let layout = Chunk::layout(room).ok_or(Error::NoMemory)?;
            let chunk = NonNull::new(memory::try_alloc(layout).cast::<Chunk>());
            let chunk = chunk.ok_or(Error::NoMemory)?;
            chunk.as_ptr().write(Chunk {
                next: self.0,
                len: 0,
                room,
            });
            self.0 = Some(chunk);
            Ok(chunk)
        }
    }

    /// Takes the last note out; there is room to put it back.
    fn pop(&mut self) -> Option<Note> {
        // SAFETY: as above.
        unsafe {
            let mut first = self.0?;
            while (*first.as_ptr()).len == 0 {
                self.0 = first.as_mut().next;
                free(first);
                first = self.0?;
            }
            let chunk = first.as_mut();
            chunk.len -= 1;
            let notes = std::ptr::from_mut(chunk).add(1).cast::<[u8; NOTE]>();
            let note = notes.add(usize::from(chunk.len)).read();
            Some(Note::unpack(note))
        }
    }

    /// Takes the first chunk out, as a chain of its own.
    fn split(&mut self) -> Chain {
        let first = self.0;
        if let Some(mut first) = first {
            // SAFETY: as above.
            self.0 = unsafe { first.as_mut() }.next.take();
        }
        Chain(first)
    }

    /// Puts a chain of one chunk in front.
    fn join(&mut self, single: Chain) {
        let mut single = std::mem::ManuallyDrop::new(single);
        if let Some(chunk) = &mut single.0 {
            // SAFETY: as above; it has no next one.
            unsafe { chunk.as_mut() }.next = self.0;
            self.0 = Some(*chunk);
        }
    }

    fn each(&self) -> impl Iterator<Item = &Chunk> {
        let mut next = self.0;
        std::iter::from_fn(move || {
            // SAFETY: of this chain, which is borrowed.
            let chunk = unsafe { next?.as_ref() };
            next = chunk.next;
            Some(chunk)
        })
    }
}

/// # Safety
/// Made by `grow`, and in no chain any more.
unsafe fn free(chunk: NonNull<Chunk>) {
    // SAFETY: by contract; the room is what it was allocated with.
    unsafe {
        if let Some(layout) = Chunk::layout((*chunk.as_ptr()).room) {
            dealloc(chunk.as_ptr().cast(), layout);
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while let Some(mut chunk) = self.0 {
            // SAFETY: this chain's own.
            unsafe {
                self.0 = chunk.as_mut().next;
                free(chunk);
            }
        }
    }
}

/// 64 slots, of which the first are the first due.
struct Level {
    taken: u64,
    chains: [Chain; SLOTS],
    /// Of the keys of each slot, when they were noted there.
    firsts: [u64; SLOTS],
}

impl Level {
    fn new() -> Result<Box<Level>, Error> {
        let layout = Layout::new::<Level>();
        // SAFETY: not of size zero; no slot is taken, and no chain has chunks: what is not zero is
        // written.
        unsafe {
            let level = memory::try_alloc(layout).cast::<Level>();
            if level.is_null() {
                return Err(Error::NoMemory);
            }
            level.write(Level {
                taken: 0,
                chains: [const { Chain(None) }; SLOTS],
                firsts: [u64::MAX; SLOTS],
            });
            Ok(Box::from_raw(level))
        }
    }
}

pub(super) struct Wheel {
    levels: [Option<Box<Level>>; LEVELS],
    /// The present tick: nothing is due before it but what is in `due`.
    tick: u64,
    /// Notes whose slot's time has come.
    due: Chain,
    /// How many there are.
    notes: usize,
    next_mark: u8,
    /// The notes of a slot that `review` has yet to look at, and the first deadline among them.
    reviewing: Chain,
    reviewing_first: u64,
    /// The slot whose notes it looks at next.
    next_review: usize,
}

impl Wheel {
    pub(super) const fn new() -> Wheel {
        Wheel {
            levels: [const { None }; LEVELS],
            tick: 0,
            due: Chain(None),
            notes: 0,
            next_mark: 0,
            reviewing: Chain(None),
            reviewing_first: u64::MAX,
            next_review: 0,
        }
    }

    /// How many notes there are, of keys that live or not.
    pub(super) fn len(&self) -> usize {
        self.notes
    }

    /// Notes a key that is not noted; answers its mark.
    #[inline]
    pub(super) fn note(&mut self, hash: u64, deadline: u64, now: u64) -> Result<u8, Error> {
        if self.notes == 0 {
            self.tick = tick_of(now);
        }
        let mark = self.next_mark;
        self.put(Note { hash, mark }, deadline)?;
        self.next_mark = mark.wrapping_add(1);
        Ok(mark)
    }

    /// Takes all notes out.
    pub(super) fn clear(&mut self) {
        for level in self.levels.iter_mut().flatten() {
            while level.taken != 0 {
                let slot = level.taken.trailing_zeros() as usize;
                level.taken &= level.taken - 1;
                level.firsts[slot] = u64::MAX;
                drop(std::mem::take(&mut level.chains[slot]));
            }
        }
        self.due = Chain::default();
        self.reviewing = Chain::default();
        self.reviewing_first = u64::MAX;
        self.notes = 0;
    }

    /// Where the notes of a tick are.
    fn place(&self, tick: u64) -> (usize, usize) {
        let differing = (tick ^ self.tick) | 1;
        let level = (63 - differing.leading_zeros()) / SLOT_BITS;
        let level = level.min(LEVELS as u32 - 1);
        let slot = tick >> (level * SLOT_BITS) & (SLOTS as u64 - 1);
        (level as usize, slot as usize)
    }

    /// Puts a note where it belongs.
    #[inline]
    pub(super) fn put(&mut self, note: Note, deadline: u64) -> Result<(), Error> {
        let (level, slot) = self.place(tick_of(deadline).max(self.tick));
        let level = match &mut self.levels[level] {
            Some(level) => level,
            none => none.insert(Level::new()?),
        };
        level.chains[slot].push(note)?;
        level.taken |= 1 << slot;
        level.firsts[slot] = level.firsts[slot].min(deadline);
        self.notes += 1;
        Ok(())
    }

    /// The slot whose keys come first, and the first deadline there.
    fn first(&self) -> Option<(usize, usize, u64)> {
        let levels = self.levels.iter().enumerate();
        let mut levels = levels.filter_map(|(at, level)| Some((at, level.as_deref()?)));
        let (at, level) = levels.find(|(_, level)| level.taken != 0)?;
        let slot = level.taken.trailing_zeros() as usize;
        Some((at, slot, level.firsts[slot]))
    }

    /// When the wheel is to be looked at: `u64::MAX` if never.
    pub(super) fn due(&self) -> u64 {
        if !self.due.is_empty() {
            return 0;
        }
        let first = self.first().map_or(u64::MAX, |(_, _, first)| first);
        match first.min(self.reviewing_first) {
            u64::MAX => u64::MAX,
            first => due_at(first),
        }
    }

    /// Takes out a note whose key may be due: of a whole tick that is over, or of any if it is
    /// `eager`. Whoever gets it takes the key out, or puts the note back.
    pub(super) fn take_due(&mut self, now: u64, eager: bool) -> Option<Note> {
        let is_due = |first| match eager {
            _ if first == u64::MAX => false,
            true => first <= now,
            false => due_at(first) <= now,
        };
        if self.due.is_empty() && is_due(self.reviewing_first) {
            self.reviewing_first = u64::MAX;
            self.due = std::mem::take(&mut self.reviewing);
        }
        if self.due.is_empty() {
            let (level, slot, first) = self.first()?;
            if !is_due(first) {
                return None;
            }
            let from = &mut self.levels[level].as_mut()?;
            from.taken &= !(1 << slot);
            from.firsts[slot] = u64::MAX;
            self.due = std::mem::take(&mut from.chains[slot]);
            // All that came before was empty: so time may go on to where the slot begins.
            let (shift, slot) = (level as u32 * SLOT_BITS, slot as u64);
            let above = self.tick >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
            self.tick = self.tick.max(above | slot << shift);
        }
        let note = self.due.pop()?;
        self.notes -= 1;
        Some(note)
    }

    /// Puts a note back that was taken out last, for want of memory to put it elsewhere.
    pub(super) fn put_back(&mut self, note: Note) {
        // There is room where it was.
        if self.due.push(note).is_ok() {
            self.notes += 1;
        }
    }

    /// Takes some notes out, others each time, to have those that still count put back.
    pub(super) fn review(&mut self) -> Reviewed {
        if self.reviewing.is_empty() {
            let (level, slot) = (self.next_review / SLOTS, self.next_review % SLOTS);
            self.next_review = (self.next_review + 1) % (LEVELS * SLOTS);
            match &mut self.levels[level] {
                Some(level) => {
                    level.taken &= !(1 << slot);
                    let no_more = u64::MAX;
                    self.reviewing_first = std::mem::replace(&mut level.firsts[slot], no_more);
                    self.reviewing = std::mem::take(&mut level.chains[slot]);
                }
                None => self.next_review = (level + 1) % LEVELS * SLOTS,
            }
        }
        let (notes, first) = (self.reviewing.split(), self.reviewing_first);
        if self.reviewing.is_empty() {
            self.reviewing_first = u64::MAX;
        }
        Reviewed { notes, first }
    }

    /// Ends a review; what is left of it, for want of memory, is to be looked at again.
    pub(super) fn finish_review(&mut self, reviewed: Reviewed) {
        if !reviewed.notes.is_empty() {
            self.reviewing_first = self.reviewing_first.min(reviewed.first);
            self.reviewing.join(reviewed.notes);
        }
    }

    /// A note is gone, or was put elsewhere, that a review took out.
    pub(super) fn forget(&mut self) {
        self.notes -= 1;
    }
}

/// Notes that are looked at out of their time.
pub(super) struct Reviewed {
    notes: Chain,
    /// Nothing in it is due before.
    first: u64,
}

impl Reviewed {
    pub(super) fn next(&mut self) -> Option<Note> {
        self.notes.pop()
    }

    /// Puts the note back that came last.
    pub(super) fn put_back(&mut self, note: Note) {
        let _ = self.notes.push(note); // there is room where it was
    }
}
