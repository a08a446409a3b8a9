//! Where the entries of a table are found: groups of cells, one cache line each.
//!
//! A group has one word of tags and seven cells. Its lower seven bytes are 8 bits of the hash
//! of what each cell leads to, 0 if to nothing, so one look compares seven; its highest byte
//! counts the entries that belong here and found no cell, up to 255, where it stays. A key is
//! looked for from the group of its hash on, as long as that count is not 0: nothing but the
//! count says where a search ends, so an entry that is taken out leaves nothing behind. Where
//! a search goes depends little on what else there is, which the processor's predictions
//! like: a guess that fails costs as much as the rest of a lookup.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::marker::PhantomData;
use std::ptr;

use super::entry::{is_same, Entry, TableValue};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{RetireWhole, WholeNode};
use crate::sync::{will_read, AtomicPtr, AtomicU64, Ordering, ZEROS_ARE_ATOMICS};

const CELLS: usize = 7;
const OVERFLOW_SHIFT: u32 = 56;
const OVERFLOW: u64 = 0xff << OVERFLOW_SHIFT;

#[repr(align(64))]
pub(super) struct Group<V> {
    tags: AtomicU64,
    cells: [AtomicPtr<Entry<V>>; CELLS],
}

/// Where an array's memory begins: how it is freed once it was taken out. Right in front of the
/// first group lies a pointer to it.
#[repr(C)]
pub(super) struct Head<V> {
    node: WholeNode,
    log: u32,
    /// Its entries were taken out with it.
    has_entries: bool,
    /// The next group whose entries are to be freed.
    at: usize,
    entries: PhantomData<*mut Entry<V>>,
}

/// An array of groups: a power of two of them.
pub(super) struct Array<'g, V> {
    first: *const Group<V>,
    mask: usize,
    lives: PhantomData<&'g Group<V>>,
}

impl<V> Head<V> {
    /// The first group of the array.
    ///
    /// # Safety
    /// The memory behind the head is that of an array.
    unsafe fn first(head: *mut Head<V>) -> *mut Group<V> {
        // SAFETY: by contract; there is room to align what follows.
        unsafe {
            let behind = head.add(1).cast::<*mut Head<V>>().add(1).cast::<u8>();
            let first = behind.add(behind.align_offset(align_of::<Group<V>>()));
            first.cast()
        }
    }
}

impl<V> Clone for Array<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Array<'_, V> {}

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

/// The bits of a hash that make the tag.
const TAG: u64 = 0xff << 56;

/// 0 is no tag.
#[inline(always)]
fn tag(hash: u64) -> u64 {
    (hash >> 56).max(1)
}

/// How far apart the bits are that say something of each cell.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const APART: usize = 1;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
const APART: usize = 8;

/// A bit of each cell whose byte is the tag, and no other.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
fn cells_with(tags: u64, tag: u64) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: every machine of this kind has them.
    let equal = unsafe {
        let equal = _mm_cmpeq_epi8(_mm_cvtsi64_si128(tags as i64), _mm_set1_epi8(tag as i8));
        _mm_movemask_epi8(equal)
    };
    equal as u64 & ((1 << CELLS) - 1)
}

/// A bit of each cell whose byte is the tag, and no other.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline(always)]
fn cells_with(tags: u64, tag: u64) -> u64 {
    const LOWEST_BITS: u64 = 0x00_01_01_01_01_01_01_01;
    const HIGHEST_BITS: u64 = LOWEST_BITS << 7;
    const LOWER_BITS: u64 = LOWEST_BITS * 0x7f;
    let differing = tags ^ (tag * LOWEST_BITS);
    // Carries reach the highest bit of a byte unless its lower ones are 0, and never the next.
    let carried = (differing & LOWER_BITS) + LOWER_BITS;
    !(carried | differing) & HIGHEST_BITS
}

#[inline(always)]
fn first_cell(cells: u64) -> usize {
    cells.trailing_zeros() as usize / APART
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
        // SAFETY: one of the seven.
        let entry = unsafe { self.cells.get_unchecked(cell) }.load(Ordering::Acquire);
        if entry.is_null() {
            return None; // not there yet, or no longer
        }
        // Most values end in the next line.
        will_read(entry.cast::<u8>().wrapping_add(64));
        // SAFETY: retired through the epoch after it left its cell, and whoever has found it there
        // is pinned, or the writer.
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

    /// The memory of so many groups: a head, and room to align what follows.
    fn layout(len: usize) -> Result<Layout, Error> {
        const { assert!(size_of::<Head<V>>() + size_of::<*mut ()>() <= size_of::<Group<V>>()) }
        let bytes = len
            .checked_add(2)
            .and_then(|len| len.checked_mul(size_of::<Group<V>>()));
        let layout = Layout::from_size_align(bytes.ok_or(Error::NoMemory)?, align_of::<Head<V>>());
        layout.map_err(|_| Error::NoMemory)
    }

    /// An empty one of 2^`log` groups.
    ///
    /// Its memory is asked for as zeros and is aligned here: so a large one comes from the system
    /// page by page, as it is used, and not at once.
    pub(super) fn build(log: u32) -> Result<Word<V>, Error> {
        const { assert!(align_of::<Group<V>>() > LENGTH_BITS) }
        let len = 1usize.checked_shl(log).ok_or(Error::NoMemory)?;
        let layout = Array::<V>::layout(len)?;
        // SAFETY: not of size zero; the head lies in front of the first group, which is aligned
        // within the two that are more. All bytes zero is an empty group, but for a model checker.
        unsafe {
            let memory = memory::without_reserve(|| alloc_zeroed(layout));
            if memory.is_null() {
                return Err(Error::NoMemory);
            }
            let head = memory.cast::<Head<V>>();
            let first = Head::first(head);
            first.cast::<*mut Head<V>>().sub(1).write(head);
            if !ZEROS_ARE_ATOMICS {
                (0..len).for_each(|at| first.add(at).write(Group::new()));
            }
            Ok(first.map_addr(|address| address | log as usize))
        }
    }

    /// Where its memory begins.
    pub(super) fn beginning(self) -> *mut u8 {
        // SAFETY: `build` wrote it in front of the first group.
        unsafe { self.first.cast::<*mut u8>().sub(1).read() }
    }

    /// Its bytes, with about what its entries have that go with it.
    pub(super) fn bytes(self, has_entries: bool) -> usize {
        self.groups() * size_of::<Group<V>>() * if has_entries { 4 } else { 1 }
    }

    /// What is to be retired of an array that was taken out.
    ///
    /// # Safety
    /// It was made by `build`, and is retired once.
    pub(super) unsafe fn head(self, has_entries: bool) -> *mut Head<V> {
        let head = self.beginning().cast::<Head<V>>();
        // SAFETY: where the memory begins, and no reader looks; the node is written when it
        // is retired.
        unsafe {
            (&raw mut (*head).log).write(self.log());
            (&raw mut (*head).has_entries).write(has_entries);
            (&raw mut (*head).at).write(0);
        }
        head
    }

    /// Frees an array, but not its entries.
    ///
    /// # Safety
    /// It was made by `build`, and nobody uses it any more.
    pub(super) unsafe fn free(self) {
        let len = self.mask + 1;
        // SAFETY: by contract; made with this layout.
        unsafe {
            if !ZEROS_ARE_ATOMICS {
                (0..len).for_each(|at| ptr::drop_in_place(self.first.cast_mut().add(at)));
            }
            if let Ok(layout) = Array::<V>::layout(len) {
                dealloc(self.beginning(), layout);
            }
        }
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

    /// How many groups it has.
    pub(super) fn groups(self) -> usize {
        self.mask + 1
    }

    /// The entries that lie in a group.
    pub(super) fn entries_of(
        self,
        group: usize,
    ) -> impl Iterator<Item = *mut Entry<V>> + use<'g, V> {
        let group = self.group(group);
        let tags = group.tags.load(Ordering::Acquire);
        let is_taken = move |cell: &usize| tags >> (cell * 8) & 0xff != 0;
        (0..CELLS)
            .filter(is_taken)
            .map(|cell| group.cells[cell].load(Ordering::Acquire))
    }

    pub(super) fn entries(self) -> impl Iterator<Item = *mut Entry<V>> + use<'g, V> {
        (0..self.groups()).flat_map(move |group| self.entries_of(group))
    }

    /// Whether entries that belong into a group, or one before it, lie behind it.
    pub(super) fn overflows(self, group: usize) -> bool {
        self.group(group).tags.load(Ordering::Acquire) >> OVERFLOW_SHIFT != 0
    }

    /// Shows all entries that belong into a group, wherever they lie. The writer's.
    pub(super) fn entries_at_home(self, home: usize, mut show: impl FnMut(*mut Entry<V>, u64)) {
        let mut at = home;
        loop {
            for entry in self.entries_of(at & self.mask) {
                // SAFETY: the writer takes entries out, and stages them, and it is here.
                let hash = unsafe { Entry::hash(entry) };
                if hash as usize & self.mask == home {
                    show(entry, hash);
                }
            }
            let tags = self.group(at).tags.load(Ordering::Relaxed);
            if tags >> OVERFLOW_SHIFT == 0 || at.wrapping_sub(home) >= self.mask {
                return;
            }
            at = at.wrapping_add(1);
        }
    }

    /// The entries of this hash, but for the bits of a mask, none of which says where an entry lies.
    /// The writer's, between its changes: none is staged.
    pub(super) fn entries_like(
        self,
        hash: u64,
        mask: u64,
    ) -> impl Iterator<Item = *mut Entry<V>> + use<'g, V> {
        debug_assert!(mask & (TAG | self.mask as u64) == 0);
        let mut at = hash as usize;
        let mut tags = self.group(at).tags.load(Ordering::Relaxed);
        let mut cells = cells_with(tags, tag(hash));
        std::iter::from_fn(move || loop {
            if cells != 0 {
                let cell = first_cell(cells);
                cells &= cells - 1;
                let entry = self.group(at).cells[cell].load(Ordering::Relaxed);
                // SAFETY: the writer takes entries out, and it is here: no tag is without one.
                if (unsafe { Entry::hash(entry) } ^ hash) & !mask == 0 {
                    return Some(entry);
                }
                continue;
            }
            let ends = tags >> OVERFLOW_SHIFT == 0;
            if ends || at.wrapping_sub(hash as usize) >= self.mask {
                return None;
            }
            at = at.wrapping_add(1);
            tags = self.group(at).tags.load(Ordering::Relaxed);
            cells = cells_with(tags, tag(hash));
        })
    }

    /// Puts an entry whose key is absent into the first free cell; there is one. Answers the group
    /// that it lies in. The writer's.
    pub(super) fn place(self, entry: *mut Entry<V>, hash: u64) -> usize {
        let mut at = hash as usize;
        loop {
            let group = self.group(at);
            let tags = group.tags.load(Ordering::Relaxed);
            let free = cells_with(tags, 0);
            if free != 0 {
                let cell = first_cell(free);
                group.change_tags(|tags| tags | tag(hash) << (cell * 8));
                // SAFETY: one of the seven.
                unsafe { group.cells.get_unchecked(cell) }.store(entry, Ordering::Release);
                return at & self.mask;
            }
            group.change_tags(|tags| match tags >> OVERFLOW_SHIFT {
                0xff => tags,
                _ => tags + (1 << OVERFLOW_SHIFT),
            });
            at = at.wrapping_add(1);
        }
    }

    /// Where an entry of this hash is, if it is here. The writer's.
    pub(super) fn find_entry(self, hash: u64, entry: *mut Entry<V>) -> Option<At<V>> {
        let mut group = hash as usize;
        loop {
            let tags = self.group(group).tags.load(Ordering::Relaxed);
            let mut cells = cells_with(tags, tag(hash));
            while cells != 0 {
                let cell = first_cell(cells);
                if self.group(group).cells[cell].load(Ordering::Relaxed) == entry {
                    return Some(At { group, cell, entry });
                }
                cells &= cells - 1;
            }
            if tags >> OVERFLOW_SHIFT == 0 || group.wrapping_sub(hash as usize) >= self.mask {
                return None;
            }
            group = group.wrapping_add(1);
        }
    }

    /// The group that an entry lies in.
    pub(super) fn group_of(self, at: &At<V>) -> usize {
        at.group & self.mask
    }

    /// Puts another entry of the same key into a cell. The writer's.
    pub(super) fn replace(self, at: &At<V>, entry: *mut Entry<V>) {
        self.group(at.group).cells[at.cell].store(entry, Ordering::Release);
    }

    /// Takes an entry out. The writer's.
    pub(super) fn remove(self, at: &At<V>, hash: u64) {
        let group = self.group(at.group);
        group.cells[at.cell].store(ptr::null_mut(), Ordering::Release);
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

impl<V: TableValue> Array<'_, V> {
    /// Asks for entries before their turn comes: in a large table none is at hand.
    pub(super) fn ask_for_group(self, at: usize) {
        let cells = self.group(at).cells.iter();
        cells.for_each(|cell| will_read(cell.load(Ordering::Relaxed)));
    }

    /// As `ask_for_group`, a step earlier.
    pub(super) fn ask_for_cells(self, at: usize) {
        will_read(self.group(at));
    }

    /// # Safety
    /// Nobody uses its entries any more.
    unsafe fn free_group(self, at: usize) {
        for entry in self.entries_of(at) {
            // SAFETY: by contract.
            unsafe { Entry::free(entry) };
        }
    }
}

// SAFETY: it begins with its node. `V` may go to another thread: a table's writer, which alone
// retires, has only such.
unsafe impl<V: TableValue> RetireWhole for Head<V> {
    unsafe fn free_slice(head: *mut Head<V>, budget: usize) -> bool {
        // SAFETY: by contract, the head and the array behind it are this one's alone.
        unsafe {
            let word = Head::first(head);
            let word = word.map_addr(|address| address | (*head).log as usize);
            let Some(array) = Array::of(word) else {
                return true;
            };
            if (*head).has_entries {
                let from = (*head).at;
                let end = array.groups().min(from + budget / CELLS + 1);
                // Before one is freed: a destructor may panic.
                (*head).at = end;
                for at in from..end {
                    array.ask_for_group(at + 1);
                    array.free_group(at);
                }
                if end < array.groups() {
                    return false;
                }
            }
            array.free();
            true
        }
    }
}
