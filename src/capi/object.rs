//! From handles to objects. A call finds its object without touching a count: the epoch's
//! pin keeps it. If the call must wait, it takes a count first and gives up the pin.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;

use super::kinds::{kvreg_registry, Handle, Object};
use super::status::{Failure, Status};
use crate::handle_table::Invalid;
use crate::memory;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::registry::RegistryServer;
use crate::runtime::platform;
use crate::server::Caller;
use crate::sync::raw_arc;
use crate::time::Timeout;

pub(super) fn token<H>(handle: *mut H) -> u64 {
    handle.addr() as u64
}

/// Whether a token is a handle of the process that this one forked from.
pub(super) fn is_inherited_handle(token: u64) -> bool {
    Process::inherited().any(|process| process.handles().knows(token))
}

/// Whether a token was a handle of the process that this one forked from.
pub(super) fn is_inherited(token: u64) -> bool {
    let knows = |process: &Process| process.handles().knows(token) || process.is_shut_down();
    Process::inherited().any(knows)
}

/// Why a token that is not in the table is not there.
pub(super) fn missing(token: u64, invalid: Invalid) -> Failure {
    if is_inherited(token) {
        return Status::Forked.into();
    }
    if Process::if_any().is_some_and(Process::is_shut_down) {
        return Status::ShutDown.into();
    }
    match invalid {
        Invalid::Bad => Status::BadHandle.into(),
        Invalid::WrongKind => Status::WrongKind.into(),
    }
}

/// What a call needs before it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// That the reserve of memory is whole: so nothing in it has to abort.
    Memory,
    /// Nothing: it releases, and gives back more than it takes.
    Nothing,
}

/// Runs `work` with the object of a handle. Others may free the handle meanwhile.
pub(super) fn with<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(Needs::Memory, handle, work)
}

/// As `with`, for what releases: it does not fail for want of memory.
pub(super) fn releasing<H: Handle, R>(
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(Needs::Nothing, handle, work)
}

pub(super) fn with_needs_of<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(needs, handle, work)
}

pub(super) fn with_needs<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_timeout(needs, handle, |object, _, caller| {
        if object.has_ended() {
            caller.unpin();
        }
        work(object, caller)
    })
}

/// Runs `work` with the registry of a handle: the one that is there now.
pub(super) fn with_registry<R>(
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_registry_needs(Needs::Memory, handle, work)
}

/// As `with_registry`, for what releases.
pub(super) fn releasing_registry<R>(
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_registry_needs(Needs::Nothing, handle, work)
}

pub(super) fn with_registry_needs<R>(
    needs: Needs,
    handle: *mut kvreg_registry,
    work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    with_needs(needs, handle, |supervisor, caller| {
        let mut pinned = Some(reclaim::pin());
        let registry = supervisor.current(pinned.as_ref().expect("just pinned"));
        let mut counted = None;
        let timeout = caller.timeout();
        let mut unpin = || {
            counted = Some(Arc::clone(&registry)); // keeps it from here on
            pinned = None;
            caller.unpin();
        };
        let mut caller = Caller::unpinning(timeout, &mut unpin);
        if registry.has_ended() {
            caller.unpin();
        }
        work(&registry, &mut caller)
    })
}

/// Runs `work` with the objects of two handles. Of what is wrong with either, what comes first in
/// the header's order of statuses is told.
pub(super) fn with_both<A: Handle, B: Handle, R>(
    needs: Needs,
    first: *mut A,
    second: *mut B,
    work: impl FnOnce(&Arc<A::Object>, &Arc<B::Object>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let outcome = with_needs(needs, first, |first, _| {
        with_needs(needs, second, |second, _| Ok(work(first, second)))
    });
    match outcome {
        Ok(worked) => worked,
        Err(failure) => match releasing(second, |_, _| Ok(())) {
            Err(other) if other.comes_before(&failure) => Err(other),
            _ => Err(failure),
        },
    }
}

/// What is told of two handles, if the first failed so: what is wrong with the second, where that
/// comes first in the header's order.
pub(super) fn or_of_second<H: Handle>(failure: Failure, second: *mut H) -> Failure {
    match releasing(second, |_, _| Ok(())) {
        Err(other) if other.comes_before(&failure) => other,
        _ => failure,
    }
}

/// As `with`, with the place of the handle's timeout in milliseconds: good until the caller
/// lets go.
pub(super) fn with_timeout<H: Handle, R>(
    needs: Needs,
    handle: *mut H,
    work: impl FnOnce(&Arc<H::Object>, &AtomicI64, &mut Caller<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let (mut work, mut done) = (Some(work), None);
    with_any(needs, handle, &mut |object, timeout_ms, caller| {
        if let Some(work) = work.take() {
            done = Some(work(object, timeout_ms, caller)?);
        }
        Ok(())
    })?;
    done.ok_or_else(|| Status::Internal.into()) // it has run
}

/// What is done with an object: its handle's timeout is the second.
type Work<'w, H> =
    dyn FnMut(&Arc<<H as Handle>::Object>, &AtomicI64, &mut Caller<'_>) -> Result<(), Failure> + 'w;

/// Written once in the library for each kind of handle.
#[inline(never)]
fn with_any<H: Handle>(
    needs: Needs,
    handle: *mut H,
    work: &mut Work<'_, H>,
) -> Result<(), Failure> {
    if platform::is_ending() {
        return Err(Status::ShutDown.into());
    }
    let token = token(handle);
    let process = Process::if_any().ok_or_else(|| missing(token, Invalid::Bad))?;
    let mut pinned: Option<Guard> = Some(reclaim::pin());
    let found = process
        .handles()
        .get(token, H::KIND, pinned.as_ref().expect("just pinned"))
        .map_err(|invalid| missing(token, invalid))?;
    let timeout_ms = found.timeout;
    let timeout = Timeout::from_millis(timeout_ms.load(Ordering::Relaxed))?;
    // SAFETY: the table holds a count of this Arc for the handle, which is given up only
    // through the epoch (`free`): it is there as long as `pinned` is. The copy here is never
    // dropped, so no count changes.
    let object = unsafe { raw_arc::kept::<H::Object>(found.object) };
    let mut counted = None;
    let mut unpin = || {
        counted = Some(Arc::clone(&object)); // from here on the object is kept by this count
        pinned = None;
    };
    let mut caller = Caller::unpinning(timeout, &mut unpin);
    if needs == Needs::Memory && !memory::is_ready() {
        caller.unpin(); // to free what waits
        Process::with_memory()?;
    }
    work(&object, timeout_ms, &mut caller)
}
