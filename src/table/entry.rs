//! Entries: a key, what belongs to it, and a tail of words, in one allocation.

use std::alloc::{dealloc, Layout};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::AtomicU8; // of hints: nothing for the model to explore

use crate::error::Error;
use crate::hash::hash;
use crate::memory;
use crate::reclaim::Retire;
use crate::sync::{AtomicU64, Ordering, ZEROS_ARE_ATOMICS};

/// What belongs to a key.
pub(crate) trait TableValue {
    /// Gives up what the words behind it stand for.
    ///
    /// # Safety
    /// Called once, before it is dropped, with the words behind it, when nobody else has it.
    unsafe fn release(&self, _tail: &[AtomicU64]) {}
}

#[repr(C)]
pub(crate) struct Entry<V> {
    /// The hash of the key, which only the writer asks for. While the entry is staged, the address
    /// of the one it stands for; see `staging.rs`. Once it was taken out, the link to what was
    /// taken out before it.
    word: AtomicU64,
    key_len: u32,
    /// In words of 8 bytes.
    tail_len: u16,
    /// How often it was used of late; see [`Marks`].
    uses: AtomicU8,
    /// Whatever the table's owner notes of it. The writer's.
    place: AtomicU8,
    value: V,
    // followed by the key, which a reader looks at first, and at the next word the tail
}

/// What is noted of an entry beside its value: how often it was used, and a byte of the writer's.
///
/// Uses are counted by readers, who hold nothing: each reads the byte, and stores one more. Of two
/// that do so at once one may be lost, and so may what the writer takes off meanwhile; but the
/// byte is never above `MOST_USES`, as all who store it look at what they read. Then readers write
/// nothing. `UNNOTED` is for ever: nobody stores over it, and none is made of another number.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) uses: u8,
    pub(crate) place: u8,
}

/// Uses are not counted.
const UNNOTED: u8 = u8::MAX;

/// More are not told apart.
pub(crate) const MOST_USES: u8 = 3;

impl Marks {
    /// Of an entry of whose uses nothing is to be noted.
    pub(crate) const NONE: Marks = Marks {
        uses: UNNOTED,
        place: 0,
    };
}

// SAFETY: readers look at the word of a staged entry only. `V` may go to another thread: a table's
// writer, which alone retires, has only such.
unsafe impl<V: TableValue> Retire for Entry<V> {
    unsafe fn link(entry: *mut Entry<V>) -> *mut *mut () {
        const { assert!(size_of::<*mut ()>() <= size_of::<u64>()) }
        // SAFETY: by contract.
        unsafe { (&raw mut (*entry).word).cast() }
    }

    unsafe fn free(entry: *mut Entry<V>) {
        // SAFETY: by contract.
        unsafe { Entry::free(entry) }
    }
}

/// An entry that is in no table.
pub(crate) struct NewEntry<V: TableValue>(*mut Entry<V>);

// SAFETY: the owner of its allocation; what it holds may go where `V` may.
unsafe impl<V: TableValue + Send> Send for NewEntry<V> {}

impl<V> Entry<V> {
    fn layout(key_len: usize, tail_len: usize) -> Result<Layout, Error> {
        const { assert!(align_of::<Entry<V>>() == align_of::<AtomicU64>()) }
        let tail = tail_len.checked_mul(size_of::<AtomicU64>());
        let bytes = tail.and_then(|tail| tail.checked_add(key_len.div_ceil(8) * 8));
        let bytes = bytes.ok_or(Error::NoMemory)?;
        let bytes = Layout::array::<u8>(bytes).map_err(|_| Error::NoMemory)?;
        let (layout, _) = Layout::new::<Entry<V>>()
            .extend(bytes)
            .map_err(|_| Error::NoMemory)?;
        Ok(layout)
    }

    /// Fails if there is no memory: the sizes are the caller's choice. The tail has so many words
    /// at least, and is filled up with zeros to whole ones.
    pub(crate) fn allocate(
        key: &[u8],
        value: V,
        tail: &[u8],
        words: usize,
    ) -> Result<NewEntry<V>, Error>
    where
        V: TableValue,
    {
        Entry::allocate_hashed(key, hash(key), value, tail, words)
    }

    /// Allocates an entry for a key whose hash is known.
    #[inline]
    pub(crate) fn allocate_hashed(
        key: &[u8],
        hash: u64,
        value: V,
        tail: &[u8],
        words: usize,
    ) -> Result<NewEntry<V>, Error>
    where
        V: TableValue,
    {
        let words = tail.len().div_ceil(8).max(words);
        let (Ok(key_len), Ok(tail_len)) = (key.len().try_into(), words.try_into()) else {
            return Err(Error::NoMemory);
        };
        let layout = Entry::<V>::layout(key.len(), words)?;
        // SAFETY: the layout holds an Entry, so it is not of size zero; the header is written
        // before it is read, and key and tail fit behind it by the same layout.
        unsafe {
            let entry = memory::try_alloc(layout).cast::<Entry<V>>();
            if entry.is_null() {
                return Err(Error::NoMemory);
            }
            entry.write(Entry {
                word: AtomicU64::new(hash),
                key_len,
                tail_len,
                uses: AtomicU8::new(Marks::NONE.uses),
                place: AtomicU8::new(Marks::NONE.place),
                value,
            });
            let place = entry.add(1).cast::<u64>().add(key.len().div_ceil(8));
            write_tail(place.cast(), tail, words);
            ptr::copy_nonoverlapping(key.as_ptr(), entry.add(1).cast(), key.len());
            Ok(NewEntry(entry))
        }
    }

    /// # Safety
    /// `entry` was made by `allocate` and is not freed while the answer lives, as of the two
    /// after it.
    #[inline(always)]
    pub(super) unsafe fn key<'a>(entry: *const Entry<V>) -> &'a [u8] {
        // SAFETY: `allocate` wrote so many bytes right behind the header, and a pointer to
        // the whole allocation was kept.
        unsafe { std::slice::from_raw_parts(entry.add(1).cast::<u8>(), (*entry).key_len as usize) }
    }

    /// # Safety
    /// As of `key`.
    #[inline(always)]
    unsafe fn tail<'a>(entry: *const Entry<V>) -> &'a [AtomicU64] {
        // SAFETY: as in `key`; the words are only used as atomics.
        unsafe {
            let key_len = (*entry).key_len as usize;
            let tail = entry.add(1).cast::<AtomicU64>().add(key_len.div_ceil(8));
            std::slice::from_raw_parts(tail, (*entry).tail_len as usize)
        }
    }

    /// # Safety
    /// As of `key`; the entry is not staged.
    pub(super) unsafe fn hash(entry: *const Entry<V>) -> u64 {
        // SAFETY: by contract.
        unsafe { Entry::word(entry) }.load(Ordering::Relaxed)
    }

    /// # Safety
    /// As of `key`.
    pub(super) unsafe fn word<'a>(entry: *const Entry<V>) -> &'a AtomicU64 {
        // SAFETY: by contract.
        unsafe { &(*entry).word }
    }

    /// The bytes of its allocation.
    ///
    /// # Safety
    /// As of `key`.
    pub(super) unsafe fn bytes(entry: *const Entry<V>) -> usize {
        // SAFETY: by contract.
        let (key_len, tail_len) = unsafe { ((*entry).key_len, (*entry).tail_len) };
        size_of::<Entry<V>>() + (key_len as usize).div_ceil(8) * 8 + tail_len as usize * 8
    }

    /// # Safety
    /// `entry` was made by `allocate`, and nobody uses it any more.
    pub(super) unsafe fn free(entry: *mut Entry<V>)
    where
        V: TableValue,
    {
        // SAFETY: by contract; the lengths are those it was allocated with.
        unsafe {
            (*entry).value.release(Entry::tail(entry));
            let (key, tail) = ((*entry).key_len as usize, (*entry).tail_len as usize);
            ptr::drop_in_place(entry);
            if let Ok(layout) = Entry::<V>::layout(key, tail) {
                dealloc(entry.cast(), layout);
            }
        }
    }
}

impl<V: TableValue> Drop for NewEntry<V> {
    fn drop(&mut self) {
        // SAFETY: made by `allocate`, and still this one's own.
        unsafe { Entry::free(self.0) }
    }
}

impl<V: TableValue> NewEntry<V> {
    pub(crate) fn key(&self) -> &[u8] {
        // SAFETY: the allocation lives as long as self.
        unsafe { Entry::key(self.0) }
    }

    /// The entry as one that was found, as long as it is here.
    pub(crate) fn view(&self) -> Found<'_, V> {
        Found(self.0, PhantomData)
    }

    pub(crate) fn hash(&self) -> u64 {
        // SAFETY: as in `key`.
        unsafe { Entry::hash(self.0) }
    }

    /// Of an entry that replaces another they are that one's.
    pub(crate) fn set_marks(&self, marks: Marks) {
        // SAFETY: as in `key`.
        let entry = unsafe { &*self.0 };
        entry.uses.store(marks.uses, Ordering::Relaxed);
        entry.place.store(marks.place, Ordering::Relaxed);
    }

    /// Gives it away: to a table.
    pub(super) fn into_raw(self) -> *mut Entry<V> {
        std::mem::ManuallyDrop::new(self).0
    }
}

/// An entry that was found, as long as the reader is pinned.
pub(crate) struct Found<'g, V>(*const Entry<V>, PhantomData<&'g Entry<V>>);

impl<'g, V> Found<'g, V> {
    /// # Safety
    /// The entry is not freed during 'g: it is retired through the epoch, and the reader is
    /// pinned.
    #[inline(always)]
    pub(super) unsafe fn new(entry: *const Entry<V>) -> Found<'g, V> {
        Found(entry, PhantomData)
    }

    pub(super) fn entry(&self) -> *const Entry<V> {
        self.0
    }

    /// The hash of the key. The writer's, of an entry that is not staged.
    pub(crate) fn hash(&self) -> u64 {
        // SAFETY: as `new` was promised.
        unsafe { Entry::hash(self.0) }
    }

    #[inline(always)]
    pub(crate) fn key(&self) -> &'g [u8] {
        // SAFETY: as `new` was promised.
        unsafe { Entry::key(self.0) }
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> &'g V {
        // SAFETY: as in `key`; a published entry changes by what is atomic in it at most.
        unsafe { &(*self.0).value }
    }

    #[inline(always)]
    pub(crate) fn tail(&self) -> &'g [AtomicU64] {
        // SAFETY: as in `key`.
        unsafe { Entry::tail(self.0) }
    }

    #[inline(always)]
    fn uses(&self) -> &'g AtomicU8 {
        // SAFETY: as in `key`; it is an atomic.
        unsafe { &(*self.0).uses }
    }

    fn place_byte(&self) -> &'g AtomicU8 {
        // SAFETY: as in `key`; it is an atomic.
        unsafe { &(*self.0).place }
    }

    /// Whether its uses are noted: two instructions, where they are not.
    #[inline(always)]
    pub(crate) fn is_noted(&self) -> bool {
        self.uses().load(Ordering::Relaxed) != UNNOTED
    }

    /// Notes that it was used, if that is to be noted.
    #[inline(always)]
    pub(crate) fn note_use(&self) {
        if self.is_noted() {
            self.again().add_use();
        }
    }

    /// By value, so that who found it need not have it in memory.
    #[inline(always)]
    pub(crate) fn again(&self) -> Found<'g, V> {
        Found(self.0, PhantomData)
    }

    #[cold]
    fn add_use(self) {
        let uses = self.uses().load(Ordering::Relaxed);
        if uses < MOST_USES {
            self.uses().store(uses + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn marks(&self) -> Marks {
        Marks {
            uses: self.uses().load(Ordering::Relaxed),
            place: self.place_byte().load(Ordering::Relaxed),
        }
    }

    /// The writer's, where uses are noted.
    pub(crate) fn set_uses(&self, uses: u8) {
        self.uses().store(uses.min(MOST_USES), Ordering::Relaxed);
    }

    /// The writer's.
    pub(crate) fn set_place(&self, place: u8) {
        self.place_byte().store(place, Ordering::Relaxed);
    }
}

/// Where an entry is that was found, for who follows it when the pin is gone.
pub(crate) struct Spot<V>(*const Entry<V>);

// SAFETY: an address. Who follows it says why that may be done, and shares the entry with readers.
unsafe impl<V: Sync> Send for Spot<V> {}

impl<V> Spot<V> {
    #[inline(always)]
    pub(crate) fn of(found: &Found<'_, V>) -> Spot<V> {
        Spot(found.0)
    }

    /// # Safety
    /// The entry was not taken out of its table since it was found, nor is it before 'g is over.
    #[inline(always)]
    pub(crate) unsafe fn found<'g>(self) -> Found<'g, V> {
        Found(self.0, PhantomData)
    }
}

/// # Safety
/// There is room for so many words, and the tail has no more.
#[inline(always)]
unsafe fn write_tail(place: *mut AtomicU64, tail: &[u8], words: usize) {
    // SAFETY: by contract.
    unsafe {
        if ZEROS_ARE_ATOMICS {
            for word in tail.len() / 8..words {
                place.add(word).write(AtomicU64::new(0));
            }
            ptr::copy_nonoverlapping(tail.as_ptr(), place.cast(), tail.len());
            return;
        }
        for at in 0..words {
            let mut word = [0; 8];
            let rest = tail.iter().skip(at * 8);
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            place
                .add(at)
                .write(AtomicU64::new(u64::from_ne_bytes(word)));
        }
    }
}

/// Without a call for keys as most are: two words that overlap.
#[inline(always)]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    let len = one.len();
    if len != other.len() {
        return false;
    }
    if !(8..=16).contains(&len) {
        return is_same_elsewhere(one, other);
    }
    let word = |bytes: &[u8], at: usize| {
        // SAFETY: both have at least 8 bytes, and `at` is at most 8 less than there are.
        unsafe { bytes.as_ptr().add(at).cast::<u64>().read_unaligned() }
    };
    word(one, 0) == word(other, 0) && word(one, len - 8) == word(other, len - 8)
}

/// Of keys of one length.
#[inline(never)]
fn is_same_elsewhere(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        // To call for a few bytes takes longer than to look at them.
        0..8 => one.iter().zip(other).all(|(one, other)| one == other),
        _ => one == other,
    }
}
