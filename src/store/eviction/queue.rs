//! A queue of places, in pieces, so that it grows and shrinks without copying what it holds.

use std::collections::VecDeque;

use crate::memory;

/// Places in a piece, at least and at most: the first are small, for small buckets.
const SMALLEST: usize = 32;
const LARGEST: usize = 1024;

#[derive(Default)]
pub(super) struct Queue {
    pieces: VecDeque<Vec<u64>>,
    /// How many of the first piece have gone.
    gone: usize,
    len: usize,
    /// A piece that ran empty, for the next that is needed: a full cache asks for no memory.
    spare: Option<Vec<u64>>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Puts a place at the end; `false`, with nothing changed, if there is no memory for it.
    pub(super) fn push(&mut self, place: u64) -> bool {
        let is_full = self
            .pieces
            .back()
            .is_none_or(|it| it.len() == it.capacity());
        if is_full && !self.add_piece() {
            return false;
        }
        let Some(last) = self.pieces.back_mut() else {
            return false;
        };
        last.push(place); // it has room
        self.len += 1;
        true
    }

    /// Takes the first place out.
    pub(super) fn pop(&mut self) -> Option<u64> {
        let first = self.pieces.front_mut()?;
        let place = *first.get(self.gone)?;
        self.gone += 1;
        self.len -= 1;
        if self.gone == first.len() {
            self.gone = 0;
            let mut piece = self.pieces.pop_front()?;
            piece.clear();
            // The larger one is kept.
            let kept = self.spare.as_ref().map_or(0, Vec::capacity);
            if piece.capacity() > kept {
                self.spare = Some(piece);
            }
        }
        Some(place)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let pieces = self.pieces.iter().chain(&self.spare);
        let places: usize = pieces.map(Vec::capacity).sum();
        places * size_of::<u64>() + self.pieces.capacity() * size_of::<Vec<u64>>()
    }

    #[cold]
    fn add_piece(&mut self) -> bool {
        let has_room = || self.pieces.try_reserve(1).is_ok();
        if !memory::without_reserve(has_room) {
            return false;
        }
        let mut piece = self.spare.take().unwrap_or_default();
        if piece.capacity() == 0 {
            let places = (self.len / 2).clamp(SMALLEST, LARGEST);
            if memory::reserve(&mut piece, places).is_err() {
                return false;
            }
        }
        self.pieces.push_back(piece);
        true
    }
}

#[cfg(all(test, feature = "capi"))] // not in the model
mod tests {
    use super::*;

    #[test]
    fn the_first_in_is_the_first_out() {
        let mut queue = Queue::default();
        let (mut next, mut first) = (0, 0);
        // It grows to 6,000 places, and then runs empty; three times.
        for _ in 0..3 {
            for _ in 0..6000 {
                assert!(queue.push(next) && queue.push(next + 1));
                next += 2;
                assert_eq!(queue.pop(), Some(first));
                first += 1;
                assert_eq!(queue.len() as u64, next - first);
            }
            while let Some(place) = queue.pop() {
                assert_eq!(place, first);
                first += 1;
            }
            assert_eq!((queue.len(), first), (0, next));
            assert!(queue.pieces.is_empty() && queue.spare.is_some());
        }
    }

    #[test]
    fn a_queue_that_stands_still_takes_no_memory() {
        let mut queue = Queue::default();
        (0..10_000).for_each(|place| assert!(queue.push(place)));
        let places = |queue: &Queue| {
            let pieces = queue.pieces.iter().chain(&queue.spare);
            pieces.map(Vec::capacity).sum::<usize>()
        };
        for place in 0..100_000 {
            queue.pop();
            assert!(queue.push(place));
            assert!(places(&queue) <= 10_000 + 3 * LARGEST, "{}", places(&queue));
        }
    }
}
