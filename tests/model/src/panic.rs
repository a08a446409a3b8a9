//! Panics here are the checker's, and to be seen.

pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> R {
    work()
}
