//! What a scan has read: all of it, or as many of the smallest keys as are wanted.

use std::cmp::Ordering as Order;
use std::collections::BinaryHeap;

use super::items::Item;
use super::many::grow;
use super::stored::Stored;
use super::ttl::is_past;
use super::wanted::Wanted;
use crate::error::Error;
use crate::memory;
use crate::table::Found;
use crate::time::Moment;
use crate::value::Text;

/// What an entry counts for beside its bytes, and one that is not wanted.
pub(super) const EACH: usize = 128;
pub(super) const PASSED: usize = 64;

/// An item, which is compared by its key.
pub(super) struct ByKey(pub(super) Item);

impl Ord for ByKey {
    fn cmp(&self, other: &ByKey) -> Order {
        self.0.key.as_bytes().cmp(other.0.key.as_bytes())
    }
}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &ByKey) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for ByKey {}

/// What was read, or kept.
pub(super) enum Gathered {
    /// In the order in which it was found.
    All(Vec<Item>),
    /// The smallest keys, up to the limit.
    Smallest(BinaryHeap<ByKey>),
}

impl Gathered {
    /// Nothing yet, where what is found may come in its order.
    pub(super) fn new(wanted: &Wanted, comes_in_order: bool) -> Gathered {
        match wanted.is_limited() && !comes_in_order {
            true => Gathered::Smallest(BinaryHeap::new()),
            false => Gathered::All(Vec::new()),
        }
    }

    /// Makes room for so many more, if as many are wanted.
    pub(super) fn make_room(&mut self, more: usize, wanted: &Wanted) -> Result<(), Error> {
        let more = more.min(wanted.limit.saturating_sub(self.len()));
        let made = memory::without_reserve(|| match self {
            Gathered::All(items) => items.try_reserve(more),
            Gathered::Smallest(items) => items.try_reserve(more),
        });
        made.map_err(|_| Error::NoMemory)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Gathered::All(items) => items.len(),
            Gathered::Smallest(items) => items.len(),
        }
    }

    /// Copies an entry, if it can be among the smallest and its time was not over at that moment;
    /// answers what it counts for.
    pub(super) fn take(
        &mut self,
        found: &Found<'_, Stored>,
        wanted: &Wanted,
        moment: Option<Moment>,
    ) -> Result<usize, Error> {
        if is_past(found, moment) {
            return Ok(PASSED);
        }
        let copy = || {
            let item = Item::of(found, !wanted.keys_only, moment)?;
            let bytes = item.bytes() + EACH;
            Ok::<_, Error>((item, bytes))
        };
        match self {
            Gathered::All(items) => {
                grow(items)?;
                let (item, bytes) = copy()?;
                items.push(item);
                Ok(bytes)
            }
            Gathered::Smallest(items) if items.len() < wanted.limit => {
                memory::without_reserve(|| items.try_reserve(1)).map_err(|_| Error::NoMemory)?;
                let (item, bytes) = copy()?;
                items.push(ByKey(item));
                Ok(bytes)
            }
            Gathered::Smallest(items) => {
                let Some(mut largest) = items.peek_mut() else {
                    return Ok(PASSED);
                };
                if *found.key() > *largest.0.key {
                    return Ok(PASSED);
                }
                let (item, bytes) = copy()?;
                *largest = ByKey(item);
                drop(largest);
                // On its way down it is compared with others, which are not at hand.
                Ok(bytes + EACH / 2 * items.len().ilog2() as usize)
            }
        }
    }

    /// The largest key, if there are as many as are wanted.
    pub(super) fn bound(&self, wanted: &Wanted) -> Option<&Text> {
        match self {
            Gathered::Smallest(items) if items.len() >= wanted.limit => {
                items.peek().map(|largest| &largest.0.key)
            }
            _ => None,
        }
    }

    pub(super) fn into_vec(self) -> Vec<ByKey> {
        match self {
            Gathered::All(items) => items.into_iter().map(ByKey).collect(), // in their place
            Gathered::Smallest(items) => items.into_vec(),
        }
    }
}
