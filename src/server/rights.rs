//! The right to change a server's state, as a type.
//!
//! # The argument
//!
//! A [`Writing`] is made where `WRITE` was just taken, and only there; it lives no longer than
//! that, and stays on its thread. It names its server. So whoever has one for a server is the
//! only one who may write that server's state, and what it lends ([`Exclusive`]) is a right over
//! a part of that state and of no other: which part that is the state says, whose trait is
//! `unsafe` for this reason. One thread may have several `Exclusive`s of a part at once: they
//! are the same right.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::AtomicBool; // of hints, as in the server

use super::{Server, State};
use crate::sync::Ordering;

/// The calling thread holds `WRITE` of this server.
pub(crate) struct Writing<'a, S: State> {
    server: &'a Server<S>,
    /// Not to be sent to another thread.
    thread: PhantomData<*const ()>,
}

impl<'a, S: State> Writing<'a, S> {
    /// # Safety
    /// The calling thread holds `WRITE` of the server as long as this lives.
    #[inline(always)]
    pub(super) unsafe fn new(server: &'a Server<S>) -> Writing<'a, S> {
        Writing {
            server,
            thread: PhantomData,
        }
    }

    pub(crate) fn state(&self) -> &'a S {
        self.server.state()
    }

    /// Says that the right is kept for longer than it takes to wake up, until what is answered is
    /// dropped.
    pub(crate) fn keep_long(&self) -> KeptLong<'a> {
        self.server.is_kept_long.store(true, Ordering::Relaxed);
        KeptLong(&self.server.is_kept_long)
    }

    /// The right over what needs it.
    #[inline(always)]
    pub(crate) fn exclusive(&self) -> Exclusive<'_, S::Exclusive> {
        Exclusive {
            part: self.server.state().exclusive(),
            thread: PhantomData,
        }
    }
}

/// As `keep_long` says.
pub(crate) struct KeptLong<'a>(&'a AtomicBool);

impl Drop for KeptLong<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The calling thread is the only one that may change this, as long as this lives. Others may
/// read it meanwhile.
pub(crate) struct Exclusive<'a, T> {
    part: &'a T,
    thread: PhantomData<*const ()>,
}

#[cfg(test)]
impl<'a, T> Exclusive<'a, T> {
    /// For the model, whose scenarios say who writes.
    ///
    /// # Safety
    /// The calling thread is the only one that changes it as long as this lives.
    #[allow(dead_code)]
    pub(crate) unsafe fn granted(part: &'a T) -> Exclusive<'a, T> {
        Exclusive {
            part,
            thread: PhantomData,
        }
    }
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.part
    }
}
