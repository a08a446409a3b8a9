//! What each thread has, in one block: to find it costs a call in a shared library, and once it is
//! found the compiler finds all of it.
//!
//! # The argument
//!
//! The block begins with all bytes zero and has no destructor, so that it is there to the very end
//! of the thread. Each type that lies in it promises that zeros are a value of it, and has an area
//! of its own, which is large enough (asserted). It is only lent as a shared reference to its own
//! thread.

use std::cell::UnsafeCell;

/// The areas of the block.
#[derive(Clone, Copy)]
pub(crate) enum Area {
    Pins,
    Turns,
    Handles,
    Buffers,
    Panics,
    End,
    Stripe,
    Copies,
    Handlers,
}

impl Area {
    /// Where it begins, and how long it is, in words.
    const fn words(self) -> (usize, usize) {
        match self {
            Area::Pins => (0, 5),
            Area::Turns => (5, 6),
            Area::Handles => (11, 3),
            Area::Buffers => (14, 9),
            Area::Panics => (23, 1),
            Area::End => (24, 2),
            Area::Stripe => (26, 1),
            Area::Copies => (27, 1),
            Area::Handlers => (28, 2),
        }
    }
}

const WORDS: usize = 30;

struct Block(UnsafeCell<[u64; WORDS]>);

std::thread_local! {
    static BLOCK: Block = const { Block(UnsafeCell::new([0; WORDS])) };
}

/// What a thread has one of.
///
/// # Safety
/// All bytes zero is a value of it, and no other type has this area.
pub(crate) unsafe trait ThreadLocal: Sized + 'static {
    const AREA: Area;

    /// Looks at what the calling thread has.
    #[inline(always)]
    fn own<R>(look: impl FnOnce(&Self) -> R) -> R {
        const {
            assert!(size_of::<Self>() <= 8 * Self::AREA.words().1);
            assert!(align_of::<Self>() <= align_of::<u64>());
            assert!(!std::mem::needs_drop::<Self>());
        }
        BLOCK.with(|block| {
            // SAFETY: within the block, in an area of its own; and zeros at first.
            look(unsafe { &*block.0.get().cast::<u64>().add(Self::AREA.words().0).cast() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_areas_lie_side_by_side() {
        let areas = [
            Area::Pins,
            Area::Turns,
            Area::Handles,
            Area::Buffers,
            Area::Panics,
            Area::End,
            Area::Stripe,
            Area::Copies,
            Area::Handlers,
        ];
        let end = areas.into_iter().fold(0, |end, area| {
            assert_eq!(area.words().0, end);
            end + area.words().1
        });
        assert_eq!(end, WORDS);
    }
}
