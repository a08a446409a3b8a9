//! Handles: tokens of 64 bits that stand for an object, are checked before anything is
//! touched, and may be freed while others use them (G9).
//!
//! A token is a kind, the number of a slot and the slot's generation. A slot is never moved
//! or freed, so a token of any origin can be looked up. It has the token that fits it now, of
//! a generation that is even while it holds an object and odd while it is free, and grows
//! with every step, so an old token never fits again. Freeing wins by a compare-and-swap of
//! the slot's token, so it succeeds once; object and slot are then given to the epoch, which
//! drops the one and lets the other be used again when no lookup that may have seen them is
//! still pinned. So a lookup that is pinned and finds its token in the slot finds its object
//! there too, and may use it as long as it is pinned. Lookups write nothing. A slot whose
//! generations are used up is not used again.
//!
//! Threads that make and free handles of their own share nothing that they write: each slot has a
//! cache line of its own, and each thread keeps free slots for its next handles. It gets them from
//! the table, and gives them back there, many at a time under one lock. Whose a slot was says
//! nothing about it: a free slot that is given back is in one place, a thread's or the table's, and
//! who takes it out of there has it alone.

mod slots;

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU64, Ordering};
use std::sync::Mutex;

use crate::error::Error;
use crate::memory;
use crate::reclaim::{Guard, Retire};
use crate::sync::{lock, Apart, ThreadLocal};

pub(crate) use slots::PER_THREAD;
use slots::{Slots, GIVEN, NEW};

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Registry = 1,
    Bucket = 2,
    Update = 3,
    Items = 4,
    Inbox = 5,
    Listener = 6,
    Server = 7,
    Turn = 8,
    Reply = 9,
}

impl Kind {
    pub(crate) const ALL: [Kind; 9] = [
        Kind::Registry,
        Kind::Bucket,
        Kind::Update,
        Kind::Items,
        Kind::Inbox,
        Kind::Listener,
        Kind::Server,
        Kind::Turn,
        Kind::Reply,
    ];

    /// That which a token claims to be of.
    pub(crate) fn claimed(token: u64) -> Option<Kind> {
        let at = token_kind(token).checked_sub(1)?;
        Kind::ALL.get(at).copied()
    }
}

/// Why a token is no handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Null, freed, or made up.
    Bad,
    /// A live handle of another kind.
    WrongKind,
}

// A token: 4 bits of mark, 4 of kind, 24 of slot, 32 of generation. The mark keeps tokens
// apart from addresses: the highest bits of an address are all equal.
const MARK: u64 = 0x6;
const MARK_SHIFT: u32 = 60;
const KIND_SHIFT: u32 = 56;
const SLOT_SHIFT: u32 = 32;
const SLOT_BITS: u32 = KIND_SHIFT - SLOT_SHIFT;

const FIRST_SEGMENT: u32 = 64;
/// Each segment is as large as all before it together, so this many hold all slots.
const SEGMENTS: usize = (SLOT_BITS - FIRST_SEGMENT.trailing_zeros() + 1) as usize;

/// In a line of its own: two threads write two of them.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    /// Of a free slot all but the generation is old.
    token: AtomicU64,
    timeout: AtomicI64,
    object: AtomicPtr<()>,
    /// While it waits for the epoch: what was retired before it, and a `Release`.
    link: AtomicPtr<()>,
    release: AtomicPtr<()>,
}

/// Drops the object of a handle that was ended, and gives its slot back.
pub(crate) type Release = fn(Removed);

// SAFETY: nobody but who retires a slot looks at its link, and not before it is used again.
unsafe impl Retire for Slot {
    unsafe fn link(slot: *mut Slot) -> *mut *mut () {
        // SAFETY: by contract.
        unsafe { (*slot).link.as_ptr() }
    }

    unsafe fn free(slot: *mut Slot) {
        // SAFETY: slots are never freed.
        let slot = unsafe { &*slot };
        let release = slot.release.load(Ordering::Relaxed);
        // SAFETY: stored by `retire`, of this type.
        let release: Release = unsafe { std::mem::transmute(release) };
        let next = slot.token.load(Ordering::Relaxed);
        release(Removed {
            token: next - 1,
            object: slot.object.load(Ordering::Relaxed),
            slot: RemovedSlot(token_slot(next)),
        });
    }
}

pub(crate) struct HandleTable {
    segments: [AtomicPtr<Slot>; SEGMENTS],
    free: Apart<Mutex<Free>>,
    /// Generations begin at a random number: another copy of the library, or a forked child,
    /// makes other tokens.
    first_generation: u32,
}

struct Free {
    slots: Vec<u32>,
    /// Slots from here on were never used.
    next: u32,
}

/// A handle that was looked up: its own as long as the lookup's pin lasts.
pub(crate) struct Lookup<'t> {
    pub(crate) object: *const (),
    pub(crate) timeout: &'t AtomicI64,
}

/// A handle that was ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) token: u64,
    pub(crate) object: *const (),
    pub(crate) slot: RemovedSlot,
}

/// The slot of a handle that was ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemovedSlot(u32);

impl HandleTable {
    pub(crate) fn new() -> HandleTable {
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        HandleTable {
            segments: [const { AtomicPtr::new(std::ptr::null_mut()) }; SEGMENTS],
            free: Apart(Mutex::new(Free {
                slots: Vec::new(),
                next: 0,
            })),
            first_generation: hasher.finish() as u32 | 1,
        }
    }

    /// Makes a handle for `object`, which the table owns from here on.
    pub(crate) fn insert(
        &'static self,
        kind: Kind,
        object: *const (),
        timeout_ms: i64,
    ) -> Result<u64, Error> {
        let kept = Slots::own(|slots| slots.take(self));
        let number = kept.map_or_else(|| self.take_slot(), Ok)?;
        let slot = self.slot(number).expect("a slot that was just made");
        slot.timeout.store(timeout_ms, Ordering::Relaxed);
        slot.object.store(object.cast_mut(), Ordering::Relaxed);
        let token = next_token(kind, number, slot);
        // Release: whoever finds the token finds the object.
        slot.token.store(token, Ordering::Release);
        Ok(token)
    }

    /// Takes a slot for an object that will have a handle again and again, never two at once.
    pub(crate) fn reserve(&'static self, object: *const ()) -> Result<RemovedSlot, Error> {
        let kept = Slots::own(|slots| slots.take(self));
        let number = kept.map_or_else(|| self.take_slot(), Ok)?;
        let slot = self.slot(number).expect("a slot that was just made");
        slot.object.store(object.cast_mut(), Ordering::Relaxed);
        Ok(RemovedSlot(number))
    }

    /// The next handle of a slot that was reserved, not to be known before it is published.
    #[inline(always)]
    pub(crate) fn next(&self, kind: Kind, reserved: &RemovedSlot) -> u64 {
        let slot = self.slot(reserved.0);
        slot.map_or(0, |slot| next_token(kind, reserved.0, slot))
    }

    /// Makes the next handle of a slot that was reserved.
    #[inline(always)]
    pub(crate) fn publish(&self, next: u64) {
        if let Some(slot) = self.slot(token_slot(next)) {
            // Release: whoever ends the handle finds what the object holds.
            slot.token.store(next, Ordering::Release);
        }
    }

    /// Whether no handle can be made in a slot any more.
    #[inline(always)]
    pub(crate) fn is_used_up(&self, slot: &RemovedSlot) -> bool {
        let token = self
            .slot(slot.0)
            .map(|slot| slot.token.load(Ordering::Relaxed));
        token.is_none_or(|token| generation(token) == self.first_generation)
    }

    /// Looks a token up.
    #[inline]
    pub(crate) fn get(
        &self,
        token: u64,
        kind: Kind,
        _pinned: &Guard,
    ) -> Result<Lookup<'_>, Invalid> {
        let slot = self.slot_of(token).ok_or(Invalid::Bad)?;
        if token >> KIND_SHIFT != MARK << (MARK_SHIFT - KIND_SHIFT) | kind as u64 {
            return Err(Invalid::WrongKind);
        }
        Ok(Lookup {
            object: slot.object.load(Ordering::Relaxed),
            timeout: &slot.timeout,
        })
    }

    /// Looks a token up in fewer steps than `get`, and without the reason.
    #[inline(always)]
    pub(crate) fn fast_get(&self, token: u64, kind: Kind, _pinned: &Guard) -> Option<*const ()> {
        const FORM: u64 = !0 << KIND_SHIFT | 1;
        if token & FORM != MARK << MARK_SHIFT | (kind as u64) << KIND_SHIFT {
            return None;
        }
        let slot = self.slot(token_slot(token))?;
        if slot.token.load(Ordering::Acquire) != token {
            return None;
        }
        Some(slot.object.load(Ordering::Relaxed))
    }

    /// Whether a token stands for an object here. Takes no lock and touches no object: asked of
    /// the parent's table in a forked child.
    pub(crate) fn knows(&self, token: u64) -> bool {
        self.slot_of(token).is_some()
    }

    /// Ends a handle. The object is the caller's now, but others may still be using it: it is
    /// to be dropped through the epoch, and the slot to be given back there.
    pub(crate) fn remove(&self, token: u64, kind: Kind) -> Result<Removed, Invalid> {
        let slot = self.slot_of(token).ok_or(Invalid::Bad)?;
        if token_kind(token) != kind as usize {
            return Err(Invalid::WrongKind);
        }
        self.free_slot(slot, token).ok_or(Invalid::Bad)
    }

    /// Has a handle that was ended released when nobody uses it any more. Takes no memory. `bytes`
    /// is about what that gives back.
    pub(crate) fn retire(
        &'static self,
        removed: Removed,
        release: Release,
        bytes: usize,
        pinned: &Guard,
    ) {
        if let Some(slot) = self.slot(removed.slot.0) {
            let release = release as *const () as *mut ();
            slot.release.store(release, Ordering::Relaxed);
            // SAFETY: its token was ended, and what was removed comes here once.
            unsafe { pinned.retire(std::ptr::from_ref(slot).cast_mut(), bytes) };
        }
    }

    /// Lets the slot of a removed handle be used again.
    pub(crate) fn give_back(&'static self, slot: RemovedSlot) {
        if !self.is_used_up(&slot) && !Slots::own(|slots| slots.keep(self, slot.0)) {
            lock(&self.free.0).slots.push(slot.0);
        }
    }

    /// Ends all handles, and hands them out with their kinds.
    pub(crate) fn remove_all(&self, mut removed: impl FnMut(Kind, Removed)) {
        let used = lock(&self.free.0).next;
        for number in 0..used {
            let Some(slot) = self.slot(number) else {
                continue;
            };
            let token = slot.token.load(Ordering::Acquire);
            if token % 2 == 1 {
                continue;
            }
            if let Some(handle) = self.free_slot(slot, token) {
                removed(Kind::ALL[token_kind(token) - 1], handle);
            }
        }
    }

    /// How many handles of a kind were not freed: counted by a look at all, since it is seldom
    /// asked.
    pub(crate) fn live(&self, kind: Kind) -> usize {
        let used = lock(&self.free.0).next;
        let tokens =
            (0..used).filter_map(|number| Some(self.slot(number)?.token.load(Ordering::Acquire)));
        tokens
            .filter(|token| token % 2 == 0 && token_kind(*token) == kind as usize)
            .count()
    }

    fn free_slot(&self, slot: &Slot, token: u64) -> Option<Removed> {
        slot.token
            .compare_exchange(token, token + 1, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // Only the winner comes here, and the slot is not reused before it is given back.
        Some(Removed {
            token,
            object: slot.object.load(Ordering::Relaxed),
            slot: RemovedSlot(token_slot(token)),
        })
    }

    /// A slot for a thread that has none, and some more for its next handles.
    #[cold]
    fn take_slot(&'static self) -> Result<u32, Error> {
        let mut free = lock(&self.free.0);
        let number = match free.slots.pop() {
            Some(number) => number,
            None => self.take_new(&mut free)?,
        };
        Slots::own(|slots| {
            if slots.may_keep(self) {
                let left = free.slots.len().saturating_sub(GIVEN);
                slots.fill(free.slots.drain(left..));
                if slots.is_empty() {
                    let first = free.next;
                    let (segment, offset) = place(first);
                    // Those of a segment that is there.
                    let there = segment_len(segment) - offset;
                    let more = if offset == 0 { 0 } else { there.min(NEW) };
                    free.next += more as u32;
                    slots.fill((first..free.next).rev());
                }
            }
        });
        Ok(number)
    }

    /// A slot that was never used.
    fn take_new(&self, free: &mut Free) -> Result<u32, Error> {
        let number = free.next;
        if number >> SLOT_BITS != 0 {
            return Err(Error::Limit("16,777,216 handles"));
        }
        let (segment, offset) = place(number);
        if offset == 0 {
            let len = segment_len(segment);
            let mut slots = Vec::new();
            memory::reserve(&mut slots, len)?;
            // Room for every slot to be freed: giving a handle back must not fail.
            let room = (number as usize + len) - free.slots.len();
            memory::reserve(&mut free.slots, room)?;
            slots.resize_with(len, || Slot {
                token: AtomicU64::new(self.first_generation.into()),
                ..Slot::default()
            });
            let slots = Box::leak(slots.into_boxed_slice()).as_mut_ptr();
            self.segments[segment].store(slots, Ordering::Release);
        }
        free.next += 1;
        Ok(number)
    }

    /// The slot that a token fits.
    #[inline(always)]
    fn slot_of(&self, token: u64) -> Option<&Slot> {
        // An odd generation is that of a free slot.
        if token >> MARK_SHIFT != MARK || token % 2 == 1 {
            return None;
        }
        let slot = self.slot(token_slot(token))?;
        (slot.token.load(Ordering::Acquire) == token).then_some(slot)
    }

    #[inline(always)]
    fn slot(&self, number: u32) -> Option<&Slot> {
        let (segment, offset) = place(number);
        let slots = self.segments[segment].load(Ordering::Acquire);
        if slots.is_null() {
            return None;
        }
        // SAFETY: a segment holds `segment_len` slots, more than any offset in it, and is
        // never freed while the table lives; slots are shared through atomics only.
        Some(unsafe { &*slots.add(offset) })
    }
}

impl Drop for HandleTable {
    fn drop(&mut self) {
        for (segment, slots) in self.segments.iter_mut().enumerate() {
            let slots = *slots.get_mut();
            if !slots.is_null() {
                let len = segment_len(segment);
                // SAFETY: leaked by `take_slot` with this length, and nobody else has it.
                drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(slots, len)) });
            }
        }
    }
}

/// The token of the next handle in a free slot.
#[inline(always)]
fn next_token(kind: Kind, number: u32, slot: &Slot) -> u64 {
    let generation = generation(slot.token.load(Ordering::Relaxed)).wrapping_add(1);
    MARK << MARK_SHIFT
        | (kind as u64) << KIND_SHIFT
        | u64::from(number) << SLOT_SHIFT
        | u64::from(generation)
}

fn token_slot(token: u64) -> u32 {
    (token >> SLOT_SHIFT) as u32 & ((1 << SLOT_BITS) - 1)
}

fn token_kind(token: u64) -> usize {
    (token >> KIND_SHIFT) as usize & 0xf
}

fn generation(token: u64) -> u32 {
    token as u32
}

fn segment_len(segment: usize) -> usize {
    match segment {
        0 => FIRST_SEGMENT as usize,
        _ => (FIRST_SEGMENT as usize) << (segment - 1),
    }
}

/// The segment of a slot, and its place there.
fn place(number: u32) -> (usize, usize) {
    if number < FIRST_SEGMENT {
        return (0, number as usize);
    }
    let segment = (number / FIRST_SEGMENT).ilog2() as usize + 1;
    (segment, number as usize - segment_len(segment))
}

#[cfg(test)]
mod tests;
