//! A hash table with one writer at a time and readers that neither wait nor write.
//!
//! A bucket's keys and a registry's names live in one. A server's handlers have their state
//! to themselves, so writers need no order among themselves here; readers come from anywhere.
//!
//! **Argument.** A cell is one word: null, a tombstone, or an entry's address with 16 bits of
//! its hash in the upper, unused bits, so a probe touches only entries that very likely
//! match. An entry never changes once it is published (Release; readers load with Acquire).
//! The writer replaces an entry by storing another address in the same cell, so a reader sees
//! the old or the new one; removes it by a tombstone; and grows by building a second array of
//! the same entries and publishing that. A reader that still probes the old array sees the
//! table as it was when it was replaced, which is a moment of its own read. `clear` and
//! `close` replace the array by a marker, which takes effect at one instant. What was taken
//! out is given to the epoch: a reader is pinned while it looks. A batch of entries is put in
//! one by one, while those who begin to read wait; whoever began before it is one who read
//! before it, whatever he finds. Probes end because an array
//! is never more than three quarters full.

use std::alloc::{alloc, dealloc, Layout};
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use foldhash::fast::SeedableRandomState;
use foldhash::SharedSeed;
use once_cell::race::OnceBox;

use crate::epoch::Guard;
use crate::error::Error;

const SMALLEST: usize = 8;

/// Keys are chosen by the program's users: the seeds are drawn anew in every process. By who
/// comes first, without a lock: a fork may happen in the middle of it.
static SEEDS: OnceBox<Seeds> = OnceBox::new();

struct Seeds {
    own: u64,
    shared: SharedSeed,
}

fn draw_seeds() -> Box<Seeds> {
    // std's own random source, a different number each time.
    let draw = || std::hash::RandomState::new().build_hasher().finish();
    Box::new(Seeds {
        own: draw(),
        shared: SharedSeed::from_u64(draw()),
    })
}

pub(crate) fn hash(key: &[u8]) -> u64 {
    let seeds = SEEDS.get_or_init(draw_seeds);
    let mut hasher = SeedableRandomState::with_seed(seeds.own, &seeds.shared).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The table was closed: its server has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

pub(crate) struct Table<V> {
    /// A batch is being put in: whoever begins to read now waits for its end, a matter of
    /// stores. So nobody who saw one of its entries can miss another.
    in_batch: AtomicBool,
    /// Null: empty. `closed()`: closed. Else an array that `Array::leak` made.
    array: AtomicPtr<Array<V>>,
    len: AtomicUsize,
}

/// A key, what belongs to it, and a tail of bytes, in one allocation.
#[repr(C)]
pub(crate) struct Entry<V> {
    hash: u64,
    key_len: u32,
    tail_len: u32,
    value: V,
    // followed by the key and the tail
}

/// An entry that is in no table.
pub(crate) struct NewEntry<V>(*mut Entry<V>);

// SAFETY: the owner of its allocation; what it holds may go where `V` may.
unsafe impl<V: Send> Send for NewEntry<V> {}

struct Array<V> {
    cells: Box<[AtomicPtr<Entry<V>>]>,
    /// Cells that are not null. The writer's own.
    filled: AtomicUsize,
}

fn closed<V>() -> *mut Array<V> {
    ptr::without_provenance_mut(align_of::<Array<V>>())
}

impl<V> Entry<V> {
    fn layout(key_len: usize, tail_len: usize) -> Result<Layout, Error> {
        let bytes = key_len.checked_add(tail_len).ok_or(Error::NoMemory)?;
        let bytes = Layout::array::<u8>(bytes).map_err(|_| Error::NoMemory)?;
        let (layout, _) = Layout::new::<Entry<V>>()
            .extend(bytes)
            .map_err(|_| Error::NoMemory)?;
        Ok(layout)
    }

    /// Fails if there is no memory: the sizes are the caller's choice.
    pub(crate) fn allocate(key: &[u8], value: V, tail: &[u8]) -> Result<NewEntry<V>, Error> {
        let (Ok(key_len), Ok(tail_len)) = (key.len().try_into(), tail.len().try_into()) else {
            return Err(Error::NoMemory);
        };
        let layout = Entry::<V>::layout(key.len(), tail.len())?;
        // SAFETY: the layout holds an Entry, so it is not of size zero; the header is written
        // before it is read, and key and tail fit behind it by the same layout.
        unsafe {
            let entry = alloc(layout).cast::<Entry<V>>();
            if entry.is_null() {
                return Err(Error::NoMemory);
            }
            if entry.addr() >> TAG_SHIFT != 0 {
                dealloc(entry.cast(), layout);
                return Err(Error::Unsupported("addresses beyond 48 bits"));
            }
            entry.write(Entry {
                hash: hash(key),
                key_len,
                tail_len,
                value,
            });
            let bytes = entry.add(1).cast::<u8>();
            ptr::copy_nonoverlapping(key.as_ptr(), bytes, key.len());
            ptr::copy_nonoverlapping(tail.as_ptr(), bytes.add(key.len()), tail.len());
            Ok(NewEntry(entry))
        }
    }

    /// Key and tail.
    ///
    /// # Safety
    /// `entry` was made by `allocate` and is not freed while the slices live.
    unsafe fn bytes<'a>(entry: *const Entry<V>) -> (&'a [u8], &'a [u8]) {
        // SAFETY: `allocate` wrote so many bytes right behind the header, and a pointer to
        // the whole allocation was kept.
        unsafe {
            let bytes = entry.add(1).cast::<u8>();
            let key_len = (*entry).key_len as usize;
            (
                std::slice::from_raw_parts(bytes, key_len),
                std::slice::from_raw_parts(bytes.add(key_len), (*entry).tail_len as usize),
            )
        }
    }

    /// # Safety
    /// `entry` was made by `allocate`, and nobody uses it any more.
    unsafe fn free(entry: *mut Entry<V>) {
        // SAFETY: by contract; the lengths are those it was allocated with.
        unsafe {
            let (key, tail) = ((*entry).key_len as usize, (*entry).tail_len as usize);
            ptr::drop_in_place(entry);
            if let Ok(layout) = Entry::<V>::layout(key, tail) {
                dealloc(entry.cast(), layout);
            }
        }
    }
}

impl<V> Drop for NewEntry<V> {
    fn drop(&mut self) {
        // SAFETY: made by `allocate`, and still this one's own.
        unsafe { Entry::free(self.0) }
    }
}

impl<V> NewEntry<V> {
    pub(crate) fn key(&self) -> &[u8] {
        // SAFETY: the allocation lives as long as self.
        unsafe { Entry::bytes(self.0).0 }
    }

    /// The entry as one that was found, as long as it is here.
    pub(crate) fn view(&self) -> Found<'_, V> {
        Found(self.0, PhantomData)
    }
}

/// An entry that was found, as long as the reader is pinned.
pub(crate) struct Found<'g, V>(*const Entry<V>, PhantomData<&'g Entry<V>>);

impl<'g, V> Found<'g, V> {
    pub(crate) fn key(&self) -> &'g [u8] {
        // SAFETY: entries are retired through the epoch, and the reader is pinned for 'g.
        unsafe { Entry::bytes(self.0).0 }
    }

    pub(crate) fn value(&self) -> &'g V {
        // SAFETY: as in `key`; a published entry is never written again.
        unsafe { &(*self.0).value }
    }

    pub(crate) fn tail(&self) -> &'g [u8] {
        // SAFETY: as in `key`.
        unsafe { Entry::bytes(self.0).1 }
    }
}

const TAG_SHIFT: u32 = 48;
const ADDRESS: usize = (1 << TAG_SHIFT) - 1;
/// Not null, and no entry's address, which is aligned.
const TOMBSTONE: usize = 1;

fn tagged<V>(entry: *mut Entry<V>, hash: u64) -> *mut Entry<V> {
    entry.map_addr(|address| address | (hash >> TAG_SHIFT << TAG_SHIFT) as usize)
}

/// The entry in a cell, unless its tag says that it has another hash.
fn tag_matches<V>(cell: *mut Entry<V>, hash: u64) -> Option<*mut Entry<V>> {
    if (cell.addr() as u64 ^ hash) >> TAG_SHIFT != 0 {
        return None;
    }
    entry_in(cell)
}

fn entry_in<V>(cell: *mut Entry<V>) -> Option<*mut Entry<V>> {
    let entry = cell.map_addr(|address| address & ADDRESS);
    (entry.addr() > TOMBSTONE).then_some(entry)
}

impl<V> Array<V> {
    fn build(capacity: usize) -> Result<Box<Array<V>>, Error> {
        let mut cells = Vec::new();
        cells
            .try_reserve_exact(capacity)
            .map_err(|_| Error::NoMemory)?;
        cells.resize_with(capacity, || AtomicPtr::new(ptr::null_mut()));
        Ok(Box::new(Array {
            cells: cells.into_boxed_slice(),
            filled: AtomicUsize::new(0),
        }))
    }

    /// The cell of `key`, and its entry.
    fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, *mut Entry<V>)> {
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.cells[at].load(Ordering::Acquire);
            if cell.is_null() {
                return None;
            }
            if let Some(entry) = tag_matches(cell, hash) {
                // SAFETY: a published entry, and the caller is pinned or the writer.
                if unsafe { Entry::bytes(entry).0 } == key {
                    return Some((at, entry));
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn entries(&self) -> impl Iterator<Item = *mut Entry<V>> + '_ {
        self.cells
            .iter()
            .filter_map(|cell| entry_in(cell.load(Ordering::Acquire)))
    }

    /// Puts an entry whose key is absent into a cell that is free. The writer's.
    fn place(&self, entry: *mut Entry<V>, hash: u64) {
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.cells[at].load(Ordering::Relaxed);
            if entry_in(cell).is_none() {
                self.cells[at].store(tagged(entry, hash), Ordering::Release);
                if cell.is_null() {
                    self.filled.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            at = (at + 1) & mask;
        }
    }
}

impl<V> Table<V> {
    pub(crate) fn new() -> Table<V> {
        Table {
            in_batch: AtomicBool::new(false),
            array: AtomicPtr::new(ptr::null_mut()),
            len: AtomicUsize::new(0),
        }
    }

    fn array<'g>(&self, _pinned: &'g Guard) -> Result<Option<&'g Array<V>>, Closed> {
        let array = self.array.load(Ordering::Acquire);
        if array == closed() {
            return Err(Closed);
        }
        // SAFETY: not the marker, so null or an array that is retired through the epoch; the
        // caller is pinned for 'g.
        Ok(unsafe { array.as_ref() })
    }

    /// What belongs to `key` now. Neither waits nor writes.
    pub(crate) fn get<'g>(
        &self,
        key: &[u8],
        pinned: &'g Guard,
    ) -> Result<Option<Found<'g, V>>, Closed> {
        self.wait_for_batch();
        self.find(key, pinned)
    }

    fn find<'g>(&self, key: &[u8], pinned: &'g Guard) -> Result<Option<Found<'g, V>>, Closed> {
        let Some(array) = self.array(pinned)? else {
            return Ok(None);
        };
        let found = array.find(hash(key), key);
        Ok(found.map(|(_, entry)| Found(entry, PhantomData)))
    }

    fn wait_for_batch(&self) {
        let mut looks = 0u32;
        while self.in_batch.load(Ordering::Acquire) {
            looks += 1;
            match looks {
                0..100 => std::hint::spin_loop(),
                _ => std::thread::yield_now(),
            }
        }
    }

    /// How many keys there are; a write in flight may count or not.
    pub(crate) fn len(&self, pinned: &Guard) -> Result<usize, Closed> {
        self.wait_for_batch();
        self.array(pinned)?;
        Ok(self.len.load(Ordering::Acquire))
    }

    /// The writing side.
    ///
    /// # Safety
    /// While the writer lives the calling thread is the only one that has one for this table.
    pub(crate) unsafe fn writer<'t>(&'t self, pinned: &'t Guard) -> Writer<'t, V> {
        Writer {
            table: self,
            pinned,
        }
    }
}

impl<V> Drop for Table<V> {
    fn drop(&mut self) {
        let array = *self.array.get_mut();
        if !array.is_null() && array != closed() {
            // SAFETY: nobody else has the table, so nobody else has its array or entries.
            unsafe { free_all(array) }
        }
    }
}

/// # Safety
/// `array` came from `Box::into_raw`, and nobody uses it or its entries any more.
unsafe fn free_all<V>(array: *mut Array<V>) {
    // SAFETY: by contract.
    unsafe {
        let array = Box::from_raw(array);
        for entry in array.entries() {
            Entry::free(entry);
        }
    }
}

/// Says that a batch is being put in, until it is dropped.
struct Batch<'t>(&'t AtomicBool);

impl<'t> Batch<'t> {
    fn begin(in_batch: &'t AtomicBool) -> Batch<'t> {
        // Ahead of the entries, which are stored with Release.
        in_batch.store(true, Ordering::SeqCst);
        Batch(in_batch)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// The one writer of a table. See the module's documentation.
pub(crate) struct Writer<'t, V> {
    table: &'t Table<V>,
    pinned: &'t Guard,
}

impl<'t, V: Send + Sync + 'static> Writer<'t, V> {
    fn array(&self) -> Result<Option<&'t Array<V>>, Closed> {
        self.table.array(self.pinned)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Found<'t, V>>, Closed> {
        self.table.find(key, self.pinned)
    }

    /// Stores all entries as one change, or none; `replaced` is shown what was replaced.
    pub(crate) fn insert_all(
        &self,
        entries: Vec<NewEntry<V>>,
        replaced: impl Fn(&Found<'t, V>),
    ) -> Result<(), Error> {
        self.reserve_for(entries.iter().map(NewEntry::key))?;
        let _batch = Batch::begin(&self.table.in_batch);
        for entry in entries {
            // With the room made above this cannot fail.
            if let Some(old) = self.insert(entry)? {
                replaced(&old);
            }
        }
        self.shrink();
        Ok(())
    }

    pub(crate) fn entries(&self) -> Result<impl Iterator<Item = Found<'t, V>>, Closed> {
        let entries = self.array()?.into_iter().flat_map(Array::entries);
        Ok(entries.map(|entry| Found(entry as *const _, PhantomData)))
    }

    /// Makes room for those of the keys that are not there yet.
    pub(crate) fn reserve_for<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<(), Error> {
        let mut new = 0;
        for key in keys {
            if self.get(key).map_err(|Closed| Error::ServerDown)?.is_none() {
                new += 1;
            }
        }
        self.reserve(new)
    }

    /// Makes room for `more` keys, so that inserting them cannot fail.
    pub(crate) fn reserve(&self, more: usize) -> Result<(), Error> {
        let array = self.array().map_err(|Closed| Error::ServerDown)?;
        let len = self.table.len.load(Ordering::Relaxed);
        let (filled, capacity) = array.map_or((0, 0), |array| {
            (array.filled.load(Ordering::Relaxed), array.cells.len())
        });
        if filled.saturating_add(more) <= capacity / 4 * 3 {
            return Ok(());
        }
        // Half full after it: as many may come again before the next time.
        let wanted = len.checked_add(more).and_then(|n| n.checked_mul(2));
        let wanted = wanted.and_then(usize::checked_next_power_of_two);
        self.resize(wanted.ok_or(Error::NoMemory)?.max(SMALLEST))
    }

    fn resize(&self, capacity: usize) -> Result<(), Error> {
        let new = Array::build(capacity)?;
        if let Ok(Some(old)) = self.array() {
            for entry in old.entries() {
                // SAFETY: only the writer takes entries out, and it is here.
                new.place(entry, unsafe { (*entry).hash });
            }
        }
        self.replace_array(Box::into_raw(new), |old| {
            // SAFETY: retired, so nobody uses the array; its entries live on in the new one.
            drop(unsafe { Box::from_raw(old) });
        });
        Ok(())
    }

    /// Stores the entry, in the place of an older one of its key; that one can be read as
    /// long as the writer lives.
    pub(crate) fn insert(&self, entry: NewEntry<V>) -> Result<Option<Found<'t, V>>, Error> {
        // SAFETY: the new entry's own header.
        let hash = unsafe { (*entry.0).hash };
        let array = self.array().map_err(|Closed| Error::ServerDown)?;
        if let Some((array, (at, old))) = array.and_then(|a| Some((a, a.find(hash, entry.key())?)))
        {
            let entry = std::mem::ManuallyDrop::new(entry).0;
            array.cells[at].store(tagged(entry, hash), Ordering::Release);
            self.retire(old);
            return Ok(Some(Found(old, PhantomData)));
        }
        self.reserve(1)?;
        let Ok(Some(array)) = self.array() else {
            return Err(Error::ServerDown);
        };
        array.place(std::mem::ManuallyDrop::new(entry).0, hash);
        self.table.len.fetch_add(1, Ordering::Release);
        Ok(None)
    }

    /// Takes the entry of `key` out; it can be read as long as the writer lives.
    pub(crate) fn remove(&self, key: &[u8]) -> Option<Found<'t, V>> {
        let array = self.array().ok().flatten()?;
        let (at, entry) = array.find(hash(key), key)?;
        array.cells[at].store(ptr::without_provenance_mut(TOMBSTONE), Ordering::Release);
        self.table.len.fetch_sub(1, Ordering::Release);
        self.retire(entry);
        self.shrink();
        Some(Found(entry, PhantomData))
    }

    /// Memory follows what is stored; if there is none for that, it can wait.
    fn shrink(&self) {
        let capacity = self
            .array()
            .ok()
            .flatten()
            .map_or(0, |array| array.cells.len());
        let len = self.table.len.load(Ordering::Relaxed);
        if capacity > SMALLEST && len < capacity / 8 {
            let _ = self.resize((len * 2).next_power_of_two().max(SMALLEST));
        }
    }

    /// Takes all entries out, at one instant.
    pub(crate) fn clear(&self) {
        self.take_all(ptr::null_mut());
    }

    /// The same, and readers find the table closed from here on.
    pub(crate) fn close(&self) {
        self.take_all(closed());
    }

    fn take_all(&self, marker: *mut Array<V>) {
        if self.table.array.load(Ordering::Relaxed) == closed() {
            return;
        }
        self.table.len.store(0, Ordering::Release);
        // SAFETY: retired, so nobody uses the array or its entries.
        self.replace_array(marker, |old| unsafe { free_all(old) });
    }

    fn replace_array(&self, new: *mut Array<V>, free: impl Fn(*mut Array<V>) + Send + 'static) {
        let old = self.table.array.swap(new, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: no reader that pins from here on finds `old`, and those who may have
            // found it are waited for; it is run once, on any thread, as V and Array allow.
            unsafe { self.pinned.defer_unchecked(move || free(old)) };
        }
    }

    fn retire(&self, entry: *mut Entry<V>) {
        // SAFETY: as above: no cell leads to the entry any more.
        unsafe { self.pinned.defer_unchecked(move || Entry::free(entry)) };
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
