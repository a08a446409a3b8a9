//! Addresses of entries, sorted by their keys: three levels of runs.
//!
//! A *run* has up to 64 slots in the order of their keys. Those of the lowest level are entries; those
//! of the two above have a run each, and the first key of that. The top may grow: for a thousand
//! million keys it has some half a million slots. A search goes through one run of each level.
//!
//! To look at a key costs a cache miss, and to compare keys that all begin with `user:` costs more.
//! So a run knows what all its keys begin with, up to 24 bytes, and each slot has the eight bytes
//! behind that, as a number: most often they are enough. All that takes memory can fail, and is
//! done before anything is changed.

use std::cmp::Ordering as Order;
use std::ops::Bound;

use super::entry::Entry;
use crate::error::Error;
use crate::memory;
use crate::sync::will_read;

/// Slots of a run.
const RUN: usize = 64;

/// With as few it goes to its neighbour, if that has as few again twice.
const FEW: usize = RUN / 4;

/// What a run knows of the beginning of its keys.
const PREFIX: usize = 24;

/// Keys that are on their way to the processor.
const AHEAD: usize = 8;

/// Three columns of one length: a search needs the first, mostly.
struct Run<V, C> {
    /// Of each key: what is behind the prefix.
    digests: Vec<u64>,
    prefix: [u8; PREFIX],
    /// How much of it counts: all keys of these slots begin so.
    skip: usize,
    /// Of each key, or the first one below.
    entries: Vec<*const Entry<V>>,
    below: Vec<C>,
}

type Leaf<V> = Run<V, ()>;
type Branch<V> = Run<V, Leaf<V>>;
type Root<V> = Run<V, Branch<V>>;

/// The owner sees to it that each entry is there as long as it is listed.
pub(super) struct Sorted<V> {
    root: Root<V>,
    len: usize,
}

/// # Safety
/// It is listed, or about to be.
unsafe fn key<'a, V>(entry: *const Entry<V>) -> &'a [u8] {
    // SAFETY: by contract.
    unsafe { Entry::key(entry) }
}

/// The eight bytes from there on, zeros where there are none: keys that begin alike are ordered so,
/// or not told apart.
fn digest(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(bytes)
        }
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    let same = one
        .iter()
        .zip(other)
        .take_while(|(one, other)| one == other);
    same.count()
}

impl<V, C> Run<V, C> {
    /// Of no slots yet, without room.
    fn empty() -> Run<V, C> {
        Run {
            digests: Vec::new(),
            prefix: [0; PREFIX],
            skip: 0,
            entries: Vec::new(),
            below: Vec::new(),
        }
    }

    /// With room for all slots that a run has.
    fn new() -> Result<Run<V, C>, Error> {
        let mut run = Run::empty();
        run.reserve(RUN)?;
        Ok(run)
    }

    fn reserve(&mut self, more: usize) -> Result<(), Error> {
        memory::without_reserve(|| {
            self.digests.try_reserve(more)?;
            self.entries.try_reserve(more)?;
            self.below.try_reserve(more)
        })
        .map_err(|_| Error::NoMemory)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= RUN
    }

    /// Finds out anew what all keys begin with.
    fn look_again(&mut self) {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else {
            return;
        };
        self.entries.iter().for_each(|entry| will_read(*entry));
        // SAFETY: listed.
        let (first, last) = unsafe { (key(*first), key(*last)) };
        let first = &first[..first.len().min(PREFIX)];
        self.skip = common(first, last);
        self.prefix[..self.skip].copy_from_slice(&first[..self.skip]);
        for (entry, to) in self.entries.iter().zip(&mut self.digests) {
            // SAFETY: listed.
            *to = digest(unsafe { key(*entry) }, self.skip);
        }
    }

    /// Sees to it that a key begins as all do; looks at none of the others.
    fn admit(&mut self, key: &[u8]) {
        let skip = common(&self.prefix[..self.skip], key);
        if skip == self.skip {
            return;
        }
        let shown = &self.prefix[skip..self.skip];
        for to in &mut self.digests {
            let rest = to.to_be_bytes();
            let mut bytes = [0; 8];
            let all = shown.iter().chain(&rest);
            bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
            *to = u64::from_be_bytes(bytes);
        }
        self.skip = skip;
    }

    /// How the prefix compares to a key: equal if that begins so.
    fn beside(&self, key: &[u8]) -> Order {
        let prefix = &self.prefix[..self.skip];
        prefix.cmp(&key[..key.len().min(self.skip)])
    }

    /// How many keys are below this one, and whether the next is the same.
    fn find(&self, wanted: &[u8]) -> (usize, bool) {
        match self.beside(wanted) {
            Order::Less => return (self.len(), false),
            Order::Greater => return (0, false),
            Order::Equal => {}
        }
        // Eight are a line.
        self.digests.iter().step_by(8).for_each(|it| will_read(it));
        let wanted_digest = digest(wanted, self.skip);
        let mut at = self.digests.partition_point(|it| *it < wanted_digest);
        while self.digests.get(at) == Some(&wanted_digest) {
            // SAFETY: listed.
            match unsafe { key(self.entries[at]) }.cmp(wanted) {
                Order::Less => at += 1,
                order => return (at, order == Order::Equal),
            }
        }
        (at, false)
    }

    /// Which slot a key is below, if any is.
    fn way_to(&self, key: &[u8]) -> usize {
        match self.find(key) {
            (at, true) => at,
            (at, false) => at.saturating_sub(1),
        }
    }

    /// There is room.
    fn insert(&mut self, at: usize, entry: *const Entry<V>, below: C) {
        // SAFETY: about to be listed.
        let key = unsafe { key(entry) };
        if self.entries.is_empty() {
            self.skip = key.len().min(PREFIX);
            self.prefix[..self.skip].copy_from_slice(&key[..self.skip]);
        }
        self.admit(key);
        self.digests.insert(at, digest(key, self.skip));
        self.entries.insert(at, entry);
        self.below.insert(at, below);
    }

    fn remove(&mut self, at: usize) -> C {
        self.digests.remove(at);
        self.entries.remove(at);
        self.below.remove(at)
    }

    /// Another entry, for the first one below a slot.
    fn set(&mut self, at: usize, entry: *const Entry<V>) {
        // SAFETY: listed.
        let key = unsafe { key(entry) };
        self.admit(key);
        (self.digests[at], self.entries[at]) = (digest(key, self.skip), entry);
    }

    fn first(&self) -> Option<*const Entry<V>> {
        self.entries.first().copied()
    }

    /// Moves the slots from there on to a run that has none.
    fn split(&mut self, at: usize, other: &mut Run<V, C>) {
        other.digests.extend(self.digests.drain(at..));
        other.entries.extend(self.entries.drain(at..));
        other.below.extend(self.below.drain(at..));
        self.look_again();
        other.look_again();
    }
}

impl<V, C> Run<V, Run<V, C>> {
    /// Puts a run behind a slot; there is room.
    fn insert_run(&mut self, at: usize, run: Run<V, C>) {
        if let Some(first) = run.first() {
            self.insert(at, first, run);
        }
    }

    /// Something was taken out of the run below a slot: it may go, or join its neighbour, and its
    /// first key may be another.
    fn tidy(&mut self, at: usize) {
        let Some(first) = self.below[at].first() else {
            self.remove(at);
            return;
        };
        if first != self.entries[at] {
            self.set(at, first);
        }
        let len = |at: usize| self.below.get(at).map_or(RUN, Run::len);
        if len(at) <= FEW && len(at + 1) <= 2 * FEW {
            let mut next = self.remove(at + 1);
            let run = &mut self.below[at];
            run.digests.append(&mut next.digests);
            run.entries.append(&mut next.entries);
            run.below.append(&mut next.below);
            run.look_again();
        }
    }
}

impl<V> Sorted<V> {
    pub(super) fn new() -> Sorted<V> {
        Sorted {
            root: Run::empty(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Lists an entry, in the place of one of the same key, which takes no memory.
    ///
    /// # Safety
    /// It is there until it was removed, or another one has taken its place.
    pub(super) unsafe fn put(&mut self, entry: *const Entry<V>) -> Result<(), Error> {
        // SAFETY: by contract.
        let wanted = unsafe { key(entry) };
        if self.root.entries.is_empty() {
            return self.begin(entry);
        }
        loop {
            let top = self.root.way_to(wanted);
            let branch = &mut self.root.below[top];
            let middle = branch.way_to(wanted);
            let leaf = &mut branch.below[middle];
            let (at, is_there) = leaf.find(wanted);
            if !is_there && leaf.is_full() {
                self.make_room(top, middle, at)?;
                continue;
            }
            match is_there {
                true => leaf.entries[at] = entry,
                false => {
                    leaf.insert(at, entry, ());
                    self.len += 1;
                }
            }
            if at == 0 {
                branch.set(middle, entry);
                if middle == 0 {
                    self.root.set(top, entry);
                }
            }
            return Ok(());
        }
    }

    fn begin(&mut self, entry: *const Entry<V>) -> Result<(), Error> {
        let (mut leaf, mut branch) = (Leaf::new()?, Branch::new()?);
        self.root.reserve(1)?;
        leaf.insert(0, entry, ());
        branch.insert_run(0, leaf);
        self.root.insert_run(0, branch);
        self.len = 1;
        Ok(())
    }

    /// Parts a leaf that is full, or the branch that it is on, if that is. Nothing else is changed.
    fn make_room(&mut self, top: usize, middle: usize, at: usize) -> Result<(), Error> {
        let tops = self.root.len();
        let branch = &mut self.root.below[top];
        // Keys that only rise leave full runs behind.
        let is_last = top + 1 == tops && middle + 1 == branch.len() && at == RUN;
        let half = if is_last { RUN - 1 } else { RUN / 2 };
        if !branch.is_full() {
            let mut more = Leaf::new()?;
            branch.below[middle].split(half, &mut more);
            branch.insert_run(middle + 1, more);
            return Ok(());
        }
        let mut more = Branch::new()?;
        self.root.reserve(1)?;
        self.root.below[top].split(half, &mut more);
        self.root.insert_run(top + 1, more);
        Ok(())
    }

    /// Whether there is an entry of this key.
    pub(super) fn has(&self, wanted: &[u8]) -> bool {
        self.place(wanted).is_some_and(|(.., is_there)| is_there)
    }

    /// Takes the entry of this key out.
    pub(super) fn remove(&mut self, wanted: &[u8]) {
        let Some((top, middle, at, true)) = self.place(wanted) else {
            return;
        };
        let branch = &mut self.root.below[top];
        branch.below[middle].remove(at);
        self.len -= 1;
        branch.tidy(middle);
        self.root.tidy(top);
    }

    /// Where a key is, or would be, and whether it is there; `None` if nothing is.
    fn place(&self, wanted: &[u8]) -> Option<(usize, usize, usize, bool)> {
        let top = self.root.way_to(wanted);
        let branch = self.root.below.get(top)?;
        let middle = branch.way_to(wanted);
        let (at, is_there) = branch.below.get(middle)?.find(wanted);
        Some((top, middle, at, is_there))
    }

    /// Shows the entries in the order of their keys, until `show` says that it is enough.
    pub(super) fn walk(&self, from: Bound<&[u8]>, mut show: impl FnMut(*const Entry<V>) -> bool) {
        let place = match from {
            Bound::Unbounded => Some((0, 0, 0, false)),
            Bound::Included(key) | Bound::Excluded(key) => self.place(key),
        };
        let Some((top, mut middle, mut at, is_there)) = place else {
            return;
        };
        if is_there && matches!(from, Bound::Excluded(_)) {
            at += 1;
        }
        for branch in self.root.below.iter().skip(top) {
            for leaf in branch.below.iter().skip(middle) {
                let rest = leaf.entries.get(at..).unwrap_or_default();
                rest.iter().take(AHEAD).for_each(|it| will_read(*it));
                for (at, entry) in rest.iter().enumerate() {
                    if let Some(next) = rest.get(at + AHEAD) {
                        will_read(*next);
                    }
                    if !show(*entry) {
                        return;
                    }
                }
                at = 0;
            }
            middle = 0;
        }
    }

    /// Frees so many leaves at most; `true` if nothing is left.
    pub(super) fn free_some(&mut self, mut leaves: usize) -> bool {
        while let Some(last) = self.root.below.last_mut() {
            if leaves == 0 {
                return false;
            }
            match last.below.pop() {
                Some(_) => leaves -= 1,
                None => drop(self.root.below.pop()),
            }
        }
        true
    }
}
