//! Where the entries of a table are found: groups of cells, one cache line each.
//!
//! A group has one word of tags and seven cells. Its lower seven bytes are 8 bits of the hash
//! of what each cell leads to, 0 if to nothing, so one look compares seven; its highest byte
//! counts the entries that belong here and found no cell, up to 255, where it stays. A key is
//! looked for from the group of its hash on, as long as that count is not 0: nothing but the
//! count says where a search ends, so an entry that is taken out leaves nothing behind. Where
//! a search goes depends little on what else there is, which the processor's predictions
//! like: a guess that fails costs as much as the rest of a lookup.

use std::marker::PhantomData;
use std::ptr;

use super::entry::{is_same, Entry};
use crate::error::Error;
use crate::reclaim::{RetireWhole, WholeNode};
use crate::sync::{will_read, AtomicPtr, AtomicU64, Ordering};

const CELLS: usize = 7;
const OVERFLOW_SHIFT: u32 = 56;
const OVERFLOW: u64 = 0xff << OVERFLOW_SHIFT;
const LOWEST_BITS: u64 = 0x00_01_01_01_01_01_01_01;
const HIGHEST_BITS: u64 = LOWEST_BITS << 7;
const LOWER_BITS: u64 = LOWEST_BITS * 0x7f;

#[repr(align(64))]
pub(super) struct Group<V> {
    tags: AtomicU64,
    cells: [AtomicPtr<Entry<V>>; CELLS],
}

/// An array of groups: a power of two of them.
pub(super) struct Array<'g, V> {
    first: *const Group<V>,
    mask: usize,
    lives: PhantomData<&'g Group<V>>,
}

impl<V> Clone for Array<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Array<'_, V> {}

/// In front of the groups, in the place of one: how an array is freed that was taken out.
#[repr(C)]
pub(super) struct Header<V> {
    node: WholeNode,
    log: u32,
    /// Its entries were taken out with it.
    has_entries: bool,
    /// The next group whose entries are to be freed.
    at: usize,
    entries: PhantomData<*mut Entry<V>>,
}

/// An array as one word: its address and, in the bits below the alignment, the binary
/// logarithm of its length. Null is no array.
pub(super) type Word<V> = *mut Group<V>;

const LENGTH_BITS: usize = 63;

/// The marker of a table that was closed.
pub(super) fn closed<V>() -> Word<V> {
    ptr::without_provenance_mut(LENGTH_BITS)
}

/// Where an entry is.
pub(super) struct At<V> {
    group: usize,
    cell: usize,
    pub(super) entry: *mut Entry<V>,
}

/// 0 is no tag.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    (hash >> 56).max(1)
}

/// The highest bit of each cell's byte that is the tag, and of no other.
#[inline(always)]
fn cells_with(tags: u64, tag: u64) -> u64 {
    let differing = tags ^ (tag * LOWEST_BITS);
    // Carries reach the highest bit of a byte unless its lower ones are 0, and never the next.
    let carried = (differing & LOWER_BITS) + LOWER_BITS;
    !(carried | differing) & HIGHEST_BITS
}

#[inline(always)]
fn first_cell(cells: u64) -> usize {
    cells.trailing_zeros() as usize / 8
}

impl<V> Group<V> {
    fn new() -> Group<V> {
        Group {
            tags: AtomicU64::new(0),
            cells: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// The entry of a cell whose tag was seen, if it has the key.
    #[inline(always)]
    fn entry_of(&self, cell: usize, key: &[u8]) -> Option<*mut Entry<V>> {
        // SAFETY: one of the seven. A tag is stored after its entry; what is found there
        // instead was put there later.
        let entry = unsafe { self.cells.get_unchecked(cell) }.load(Ordering::Acquire);
        // Most values end in the next line.
        will_read(entry.cast::<u8>().wrapping_add(64));
        // SAFETY: retired through the epoch after its tag was taken away, and whoever has seen the
        // tag is pinned, or the writer.
        is_same(unsafe { Entry::key(entry) }, key).then_some(entry)
    }

    /// The writer's.
    fn change_tags(&self, change: impl FnOnce(u64) -> u64) {
        let tags = self.tags.load(Ordering::Relaxed);
        self.tags.store(change(tags), Ordering::Release);
    }
}

impl<'g, V> Array<'g, V> {
    /// `None` if the word is null or `closed`.
    ///
    /// # Safety
    /// The array of the word is not freed during 'g.
    #[inline(always)]
    pub(super) unsafe fn of(word: Word<V>) -> Option<Array<'g, V>> {
        (word.addr() > LENGTH_BITS).then(|| Array {
            first: word.map_addr(|address| address & !LENGTH_BITS),
            mask: !(usize::MAX << (word.addr() & LENGTH_BITS)),
            lives: PhantomData,
        })
    }

    /// An empty one of 2^`log` groups.
    pub(super) fn build(log: u32) -> Result<Word<V>, Error> {
        const { assert!(align_of::<Group<V>>() > LENGTH_BITS) }
        const { assert!(size_of::<Header<V>>() <= size_of::<Group<V>>()) }
        const { assert!(align_of::<Header<V>>() <= align_of::<Group<V>>()) }
        let len = 1usize.checked_shl(log).ok_or(Error::NoMemory)?;
        let mut groups: Vec<Group<V>> = Vec::new();
        let with_header = len.checked_add(1).ok_or(Error::NoMemory)?;
        groups
            .try_reserve_exact(with_header)
            .map_err(|_| Error::NoMemory)?;
        groups.resize_with(with_header, Group::new);
        let header = Box::into_raw(groups.into_boxed_slice()).cast::<Group<V>>();
        // SAFETY: there is one more.
        let first = unsafe { header.add(1) };
        Ok(first.map_addr(|address| address | log as usize))
    }

    /// Where its memory begins: with its header.
    pub(super) fn beginning(self) -> *mut Group<V> {
        self.first.cast_mut().wrapping_sub(1)
    }

    /// Its bytes, with about what its entries have that go with it.
    pub(super) fn bytes(self, has_entries: bool) -> usize {
        (self.mask + 2) * size_of::<Group<V>>() * if has_entries { 4 } else { 1 }
    }

    /// What is to be retired of an array that was taken out.
    ///
    /// # Safety
    /// It was made by `build`, and is retired once.
    pub(super) unsafe fn header(self, has_entries: bool) -> *mut Header<V> {
        let header = self.beginning().cast::<Header<V>>();
        // SAFETY: in the place of a group, at which no reader looks; the node is written when it
        // is retired.
        unsafe {
            (&raw mut (*header).log).write(self.log());
            (&raw mut (*header).has_entries).write(has_entries);
            (&raw mut (*header).at).write(0);
        }
        header
    }

    /// Frees an array, but not its entries.
    ///
    /// # Safety
    /// It was made by `build`, and nobody uses it any more.
    pub(super) unsafe fn free(self) {
        let groups = ptr::slice_from_raw_parts_mut(self.beginning(), self.mask + 2);
        // SAFETY: leaked by `build` with this length.
        drop(unsafe { Box::from_raw(groups) });
    }

    /// How many entries an array of 2^`log` groups may have: three quarters of its cells, but
    /// a single group may be full.
    fn limit(log: u32) -> usize {
        match log {
            0 => CELLS,
            log => 1usize
                .checked_shl(log)
                .map_or(usize::MAX, |groups| groups.saturating_mul(21) / 4),
        }
    }

    /// The smallest array for so many entries and a few more; twice as large as one that has
    /// one entry too many.
    pub(super) fn log_for(len: usize) -> Result<u32, Error> {
        let wanted = len.saturating_add(len / 4);
        (0..48)
            .find(|log| Array::<V>::limit(*log) >= wanted)
            .ok_or(Error::NoMemory)
    }

    pub(super) fn log(self) -> u32 {
        self.mask.trailing_ones()
    }

    #[inline]
    pub(super) fn has_room_for(self, len: usize) -> bool {
        len <= Array::<V>::limit(self.log())
    }

    /// Whether so few entries are a waste of it.
    pub(super) fn is_wide_for(self, len: usize) -> bool {
        self.mask > 0 && len < Array::<V>::limit(self.log()) / 8
    }

    #[inline(always)]
    fn group(self, at: usize) -> &'g Group<V> {
        // SAFETY: the mask is one less than the number of groups, which live for 'g and are
        // shared through atomics only.
        unsafe { &*self.first.add(at & self.mask) }
    }

    /// Where the entry of `key` is. Does not panic.
    ///
    /// Most are the first to be looked at; what a loop needs would burden them.
    #[inline(always)]
    pub(super) fn find(self, hash: u64, key: &[u8]) -> Option<At<V>> {
        let at = hash as usize;
        let group = self.group(at);
        let tags = group.tags.load(Ordering::Acquire);
        let cells = cells_with(tags, tag(hash));
        if cells != 0 {
            let cell = first_cell(cells);
            if let Some(entry) = group.entry_of(cell, key) {
                return Some(At {
                    group: at,
                    cell,
                    entry,
                });
            }
        } else if tags >> OVERFLOW_SHIFT == 0 {
            return None;
        }
        self.find_further(hash, key)
    }

    #[inline(never)]
    fn find_further(self, hash: u64, key: &[u8]) -> Option<At<V>> {
        let tag = tag(hash);
        let mut at = hash as usize;
        loop {
            let group = self.group(at);
            let tags = group.tags.load(Ordering::Acquire);
            let mut cells = cells_with(tags, tag);
            while cells != 0 {
                let cell = first_cell(cells);
                if let Some(entry) = group.entry_of(cell, key) {
                    return Some(At {
                        group: at,
                        cell,
                        entry,
                    });
                }
                cells &= cells - 1;
            }
            // Counts that stay may lead around the whole array.
            if tags >> OVERFLOW_SHIFT == 0 || at.wrapping_sub(hash as usize) >= self.mask {
                return None;
            }
            at = at.wrapping_add(1);
        }
    }

    pub(super) fn entries(self) -> impl Iterator<Item = *mut Entry<V>> + use<'g, V> {
        (0..=self.mask).flat_map(move |at| {
            let group = self.group(at);
            let tags = group.tags.load(Ordering::Acquire);
            let is_taken = move |cell: &usize| tags >> (cell * 8) & 0xff != 0;
            (0..CELLS)
                .filter(is_taken)
                .map(|cell| group.cells[cell].load(Ordering::Acquire))
        })
    }

    /// Asks for entries before their turn comes: in a large table none is at hand.
    fn ask_for_group(self, at: usize) {
        let cells = self.group(at).cells.iter();
        cells.for_each(|cell| will_read(cell.load(Ordering::Relaxed)));
    }

    /// # Safety
    /// Nobody uses its entries any more.
    unsafe fn free_group(self, at: usize) {
        let group = self.group(at);
        let tags = group.tags.load(Ordering::Relaxed);
        for cell in (0..CELLS).filter(|cell| tags >> (cell * 8) & 0xff != 0) {
            // SAFETY: by contract.
            unsafe { Entry::free(group.cells[cell].load(Ordering::Relaxed)) };
        }
    }

    /// Puts an entry whose key is absent into the first free cell; there is one. The writer's.
    pub(super) fn place(self, entry: *mut Entry<V>, hash: u64) {
        let mut at = hash as usize;
        loop {
            let group = self.group(at);
            let tags = group.tags.load(Ordering::Relaxed);
            let free = cells_with(tags, 0);
            if free != 0 {
                let cell = first_cell(free);
                // SAFETY: one of the seven.
                unsafe { group.cells.get_unchecked(cell) }.store(entry, Ordering::Release);
                return group.change_tags(|tags| tags | tag(hash) << (cell * 8));
            }
            group.change_tags(|tags| match tags >> OVERFLOW_SHIFT {
                0xff => tags,
                _ => tags + (1 << OVERFLOW_SHIFT),
            });
            at = at.wrapping_add(1);
        }
    }

    /// Puts another entry of the same key into a cell. The writer's.
    pub(super) fn replace(self, at: &At<V>, entry: *mut Entry<V>) {
        self.group(at.group).cells[at.cell].store(entry, Ordering::Release);
    }

    /// Takes an entry out. The writer's.
    pub(super) fn remove(self, at: &At<V>, hash: u64) {
        let group = self.group(at.group);
        group.change_tags(|tags| tags & !(0xff << (at.cell * 8)));
        let mut passed = hash as usize;
        while passed & self.mask != at.group & self.mask {
            self.group(passed)
                .change_tags(|tags| match tags & OVERFLOW {
                    OVERFLOW => tags,
                    _ => tags - (1 << OVERFLOW_SHIFT),
                });
            passed = passed.wrapping_add(1);
        }
    }
}

// SAFETY: it begins with its node. `V` may go to another thread: a table's writer, which alone
// retires, has only such.
unsafe impl<V> RetireWhole for Header<V> {
    unsafe fn free_slice(header: *mut Header<V>, budget: usize) -> bool {
        // SAFETY: by contract, the header and the array behind it are this one's alone.
        unsafe {
            let word = header.cast::<Group<V>>().add(1);
            let word = word.map_addr(|address| address | (*header).log as usize);
            let Some(array) = Array::of(word) else {
                return true;
            };
            let from = (*header).at;
            let end = array.mask.min(from.saturating_add(budget / CELLS)) + 1;
            if (*header).has_entries {
                // Before one is freed: a destructor may panic.
                (*header).at = end;
                for at in from..end {
                    array.ask_for_group(at + 1);
                    array.free_group(at);
                }
                if end <= array.mask {
                    return false;
                }
            }
            array.free();
            true
        }
    }
}
