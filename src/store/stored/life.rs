//! The life of a key, beside its value: until when it lives.
//!
//! A key with a time to live has the bit `TIMED` in its state, and its [`Life`] in the last word of
//! its tail, behind the room of the value. Both change like the value: a reader takes the word
//! between `look` and `holds`. A shared value's entry never changes, nor does its life.

use super::{Look, Small, Stored, MIN_TAIL, TIMED, VERSION};
use crate::sync::{AtomicU64, Ordering};

/// Until when a key lives, and by which mark its bucket has it noted to be taken out then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life(u64);

impl Life {
    const MARK_SHIFT: u32 = 56;

    /// By milliseconds of [`Moment`](crate::time::Moment), of which a thousand years have 45 bits.
    #[inline(always)]
    pub(crate) fn new(deadline: u64, mark: u8) -> Life {
        Life(deadline & ((1 << Life::MARK_SHIFT) - 1) | u64::from(mark) << Life::MARK_SHIFT)
    }

    #[inline(always)]
    pub(crate) fn deadline(self) -> u64 {
        self.0 & ((1 << Life::MARK_SHIFT) - 1)
    }

    #[inline(always)]
    pub(crate) fn mark(self) -> u8 {
        (self.0 >> Life::MARK_SHIFT) as u8
    }
}

impl Stored {
    /// With a life behind it.
    pub(crate) fn timed(self) -> Stored {
        let state = self.state.load(Ordering::Relaxed);
        self.state
            .store(state | u64::from(TIMED), Ordering::Relaxed);
        self
    }

    /// Whether the key has a time to live. The writer's, as the two after it.
    #[inline(always)]
    pub(crate) fn is_timed(&self) -> bool {
        self.what() & TIMED != 0
    }

    #[inline(always)]
    pub(crate) fn life(&self, tail: &[AtomicU64]) -> Option<Life> {
        let last = tail.last().filter(|_| self.is_timed());
        last.map(|last| Life(last.load(Ordering::Relaxed)))
    }

    /// Gives a life to the key, or takes it away, in its place: `false` if there is no room for it.
    pub(crate) fn change_life(
        &self,
        tail: &[AtomicU64],
        life: Option<Life>,
        revision: u64,
    ) -> bool {
        if !self.can_change_life(tail, life) {
            return false;
        }
        self.keep_readers_out();
        self.revision.store(revision, Ordering::Relaxed);
        if let (Some(life), Some(last)) = (life, tail.last()) {
            last.store(life.0, Ordering::Relaxed);
        }
        let state = self.state.load(Ordering::Relaxed) & !u64::from(TIMED);
        let timed = life.map_or(0, |_| u64::from(TIMED));
        self.state
            .store(state.wrapping_add(VERSION) | timed, Ordering::Release);
        true
    }

    /// Whether `change_life` finds room.
    pub(crate) fn can_change_life(&self, tail: &[AtomicU64], life: Option<Life>) -> bool {
        let words = self.small_size().div_ceil(8).max(MIN_TAIL);
        !self.is_shared() && (life.is_none() || self.is_timed() || tail.len() > words)
    }

    /// Of an entry in no table, which was made with room for it.
    pub(crate) fn set_life(&self, tail: &[AtomicU64], life: Life) {
        if let Some(last) = tail.last() {
            last.store(life.0, Ordering::Relaxed);
        }
    }
}

impl Look<'_> {
    /// Whether the key has a time to live.
    #[inline(always)]
    pub(crate) fn is_timed(&self) -> bool {
        self.what() & TIMED != 0
    }

    /// Until when the key lives; `u64::MAX` is for ever.
    #[inline(always)]
    pub(crate) fn deadline(&self) -> u64 {
        match self.tail.last() {
            Some(last) if self.is_timed() => Life(last.load(Ordering::Relaxed)).deadline(),
            _ => u64::MAX,
        }
    }
}

impl<'a> Small<'a> {
    /// As the value of a key that lives so long.
    #[inline(always)]
    pub(crate) fn living(self, life: Option<Life>) -> Small<'a> {
        match life {
            None => self,
            Some(Life(life)) => Small {
                what: self.what | u64::from(TIMED),
                life,
                ..self
            },
        }
    }

    #[inline(always)]
    pub(crate) fn is_timed(&self) -> bool {
        self.what() & TIMED != 0
    }
}
