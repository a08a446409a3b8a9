//! A batch: entries that show what was before them until all of them count.
//!
//! # The argument
//!
//! The writer puts the new entries of a batch into their cells one by one, each *staged*: its
//! value says so, and its first word leads to the entry that it stands for, or is 0. A reader that
//! finds a staged entry asks whether the batch counts already, by a word that the table's owner
//! keeps and that is stored once (Release), when all are in their cells. If it does not, the reader
//! follows the first word to the older entry, which nobody changes. So readers see the batch at one
//! instant and wait for nobody.
//!
//! Afterwards the writer makes each entry an ordinary one: first its value says so (Release), then
//! the first word becomes the hash again (Release), then the older entry is retired. A reader takes
//! the first word (Acquire) and then looks whether the value is still staged: if it is, the word
//! was an address, and what it leads to was not retired when the reader was pinned. If the reader
//! had taken the hash, or what reclamation stores there later, it would find the value no longer
//! staged.
//!
//! Of a key that a batch has twice the last entry counts. The one before it stands in no cell any
//! more, but a reader may have found it there. It is *withdrawn*, which its value says for ever: a
//! reader searches again.
//!
//! What a batch takes out it stages too: a *tombstone* stands in the cell of the entry that goes,
//! and stands for it until the batch counts. A reader that finds one staged in a batch that counts
//! answers that the key is absent, and was right at one moment of its read: that at which it found
//! the tombstone, or, if the batch came to count later, that one; for no other entry of the key is
//! put before the batch is settled. To settle a tombstone its cell is emptied (Release), then it is
//! withdrawn (Release), then the older entry and it are retired. So whoever finds it withdrawn
//! searches again and finds an empty cell, or what was put there since. Whoever takes its first
//! word and finds it staged afterwards took the address of the older entry, as above: reclamation
//! stores its own word (Release) after the tombstone was withdrawn.
//!
//! As long as an entry is staged its first word is not its hash, so a table does not move from one
//! array to another within a batch. A table that should shrink does so when all are settled.

use super::entry::{Entry, Found, NewEntry};
use super::{TableValue, Writer};
use crate::error::Error;
use crate::memory;
use crate::sync::Ordering;

/// A value of a table that has batches.
pub(crate) trait Staged: TableValue {
    fn is_staged(&self) -> bool;

    fn is_withdrawn(&self) -> bool;

    /// The key is absent once the batch counts. It never changes.
    fn is_tombstone(&self) -> bool;

    /// It is an ordinary one from here on. The writer's.
    fn settle(&self);

    /// It does not count, and never will. The writer's.
    fn withdraw(&self);
}

/// The entries of a batch, from the first that was put into its cell on.
pub(crate) struct Batch<'w, 't, V: Staged + Send + Sync + 'static> {
    writer: &'w Writer<'t, V>,
    /// With the hashes of their keys, which they get back when they are settled.
    entries: Vec<(*mut Entry<V>, u64)>,
    tombstones: usize,
}

/// Room for the entries of a batch, for who makes it before the turn.
pub(crate) struct BatchRoom<V>(Vec<(*mut Entry<V>, u64)>);

impl<V> BatchRoom<V> {
    pub(crate) fn for_entries(len: usize) -> Result<BatchRoom<V>, Error> {
        let mut entries = Vec::new();
        memory::reserve(&mut entries, len)?;
        Ok(BatchRoom(entries))
    }
}

impl<'g, V: Staged> Found<'g, V> {
    /// Of a staged entry the one that it stands for; `None` if it is no longer staged.
    pub(crate) fn before(&self) -> Option<Option<Found<'g, V>>> {
        // SAFETY: an entry that was found.
        let word = unsafe { Entry::word(self.entry()) }.load(Ordering::Acquire);
        // SAFETY: an address; see the argument above.
        self.value().is_staged().then(|| unsafe { at(word) })
    }
}

/// # Safety
/// The word is 0 or the address of an entry, which is not freed during 'g.
unsafe fn at<'g, V>(word: u64) -> Option<Found<'g, V>> {
    let entry = std::ptr::with_exposed_provenance::<Entry<V>>(word as usize);
    // SAFETY: by contract.
    (!entry.is_null()).then(|| unsafe { Found::new(entry) })
}

impl<'w, 't, V: Staged + Send + Sync + 'static> Batch<'w, 't, V> {
    /// For so many entries; room must have been made in the table.
    pub(crate) fn begin(writer: &'w Writer<'t, V>, len: usize) -> Result<Batch<'w, 't, V>, Error> {
        Ok(Batch::within(writer, BatchRoom::for_entries(len)?))
    }

    /// For as many entries as the room was made for; room must have been made in the table.
    pub(crate) fn within(writer: &'w Writer<'t, V>, room: BatchRoom<V>) -> Batch<'w, 't, V> {
        Batch {
            writer,
            entries: room.0,
            tombstones: 0,
        }
    }

    /// Puts an entry, whose value is staged, into its cell, and answers the one that it replaces
    /// there: of before the batch, or one of the batch that is withdrawn by this. A tombstone is
    /// the only entry of its key in the batch, and replaces one.
    pub(crate) fn add(&mut self, entry: NewEntry<V>) -> Option<Found<'t, V>> {
        let hash = entry.hash();
        let there = self.writer.at(hash, entry.key());
        // SAFETY: an entry of the table, and the writer is pinned.
        let found = there.as_ref().map(|at| unsafe { Found::new(at.entry) });
        let older = match &found {
            Some(found) if found.value().is_staged() => found.before().flatten(),
            // SAFETY: as above.
            found => found.as_ref().map(|it| unsafe { Found::new(it.entry()) }),
        };
        let word = older
            .as_ref()
            .map_or(0, |it| it.entry().expose_provenance());
        let is_tombstone = entry.view().value().is_tombstone();
        debug_assert!(
            !is_tombstone || older.is_some(),
            "there is nothing to take out"
        );
        self.tombstones += usize::from(is_tombstone);
        let entry = entry.into_raw();
        // SAFETY: not published yet.
        unsafe { Entry::word(entry) }.store(word as u64, Ordering::Relaxed);
        match &there {
            Some(at) => self.writer.replace_at(at, entry, hash),
            None => self.writer.place_new(entry, hash),
        }
        if let Some(again) = found.as_ref().filter(|it| it.value().is_staged()) {
            again.value().withdraw();
        }
        self.entries.push((entry, hash));
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Those that count, in the order in which they were added.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Found<'t, V>> + use<'_, 'w, 't, V> {
        // SAFETY: put into the table by `add`, by this writer, and not retired yet.
        let entries = self
            .entries
            .iter()
            .map(|(entry, _)| unsafe { Found::new(*entry) });
        entries.filter(|found: &Found<'t, V>| !found.value().is_withdrawn())
    }

    /// Makes all of them ordinary ones, and takes the tombstones out. They count by now.
    pub(crate) fn settle(self) {
        for &(entry, hash) in &self.entries {
            // SAFETY: put into the table by `add`, by this writer, and not retired yet.
            let (found, word) = unsafe { (Found::<V>::new(entry), Entry::word(entry)) };
            if found.value().is_tombstone() {
                continue;
            }
            if found.value().is_withdrawn() {
                self.writer.retire(entry);
                continue;
            }
            // SAFETY: `add` stored it.
            let older = unsafe { at::<V>(word.load(Ordering::Relaxed)) };
            found.value().settle();
            word.store(hash, Ordering::Release);
            if let Some(older) = older {
                self.writer.retire(older.entry().cast_mut());
            }
        }
        if self.tombstones > 0 {
            self.take_tombstones_out();
        }
    }

    fn take_tombstones_out(self) {
        for &(entry, hash) in &self.entries {
            // SAFETY: as in `settle`; an entry that was retired there can be read as long as the
            // writer is pinned.
            let (found, word) = unsafe { (Found::<V>::new(entry), Entry::word(entry)) };
            if !found.value().is_tombstone() {
                continue;
            }
            // SAFETY: `add` stored it.
            let older = unsafe { at::<V>(word.load(Ordering::Relaxed)) };
            if let Some(at) = self.writer.at_entry(hash, entry) {
                self.writer.remove_at(&at, hash);
            }
            found.value().withdraw();
            if let Some(older) = older {
                self.writer.retire(older.entry().cast_mut());
            }
            self.writer.retire(entry);
        }
        // No entry is staged any more.
        (0..self.tombstones).for_each(|_| self.writer.shrink());
    }
}
