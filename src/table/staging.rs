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

use super::entry::{Entry, Found, NewEntry};
use super::{TableValue, Writer};
use crate::error::Error;
use crate::memory;
use crate::sync::Ordering;

/// A value of a table that has batches.
pub(crate) trait Staged: TableValue {
    fn is_staged(&self) -> bool;

    fn is_withdrawn(&self) -> bool;

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
        let mut entries = Vec::new();
        memory::reserve(&mut entries, len)?;
        Ok(Batch { writer, entries })
    }

    /// Puts an entry, whose value is staged, into its cell, and answers the one that it replaces
    /// there: of before the batch, or one of the batch that is withdrawn by this.
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

    /// Those that count, in the order in which they were added.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Found<'t, V>> + use<'_, 'w, 't, V> {
        // SAFETY: put into the table by `add`, by this writer, and not retired yet.
        let entries = self
            .entries
            .iter()
            .map(|(entry, _)| unsafe { Found::new(*entry) });
        entries.filter(|found: &Found<'t, V>| !found.value().is_withdrawn())
    }

    /// Makes all of them ordinary ones. They count by now.
    pub(crate) fn settle(self) {
        for (entry, hash) in self.entries {
            // SAFETY: put into the table by `add`, by this writer, and not retired yet.
            let (found, word) = unsafe { (Found::<V>::new(entry), Entry::word(entry)) };
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
    }
}
