//! The one guard between C and Rust.

use std::panic::{catch_unwind, AssertUnwindSafe};

use super::status::{fail, kvreg_status, Failure, Status};
use crate::reclaim;
use crate::runtime::platform;
use crate::runtime::{self, contain};

/// Runs the body of an exported function: no panic passes, the thread is not cancelled in it, a
/// failure becomes a status and the thread's last error, and what the function left behind is
/// freed if it is large.
#[inline(always)]
pub(super) fn guard(
    function: &'static str,
    body: impl FnOnce() -> Result<(), Failure>,
) -> kvreg_status {
    guard_since(runtime::lineage(), function, body)
}

/// Runs the body of a function that began in the process of that lineage, as `guard` does.
#[inline(never)] // what it needs on the stack is not to burden the short ways before it
pub(super) fn guard_since(
    lineage: usize,
    function: &'static str,
    body: impl FnOnce() -> Result<(), Failure>,
) -> kvreg_status {
    let mut body = Some(body);
    guard_any(lineage, function, &mut || match body.take() {
        Some(body) => body(),
        None => Ok(()), // it runs once
    })
}

/// Written once in the library, for all bodies.
#[inline(never)]
fn guard_any(
    lineage: usize,
    function: &'static str,
    body: &mut dyn FnMut() -> Result<(), Failure>,
) -> kvreg_status {
    if platform::is_ending() {
        // The body refuses at once; a thread that is new here has nothing made for it any more.
        return body().map_or_else(|failure| fail(function, failure), |()| Status::Ok as _);
    }
    let outcome = platform::uncancelled(|| {
        contain(|| {
            catch_unwind(AssertUnwindSafe(|| {
                let outcome = body();
                if runtime::lineage() == lineage {
                    if outcome.as_ref().is_err_and(Failure::is_no_memory) {
                        reclaim::tidy_all(); // what waits to be freed may be what is missing
                    }
                    reclaim::tidy();
                }
                outcome
            }))
        })
    });
    if runtime::lineage() != lineage {
        // User code below forked, and this is the child.
        return fail(function, Status::Forked.into());
    }
    match outcome {
        Ok(Ok(())) => Status::Ok as kvreg_status,
        Ok(Err(failure)) => fail(function, failure),
        Err(_) => fail(function, Status::Internal.into()),
    }
}

/// Runs the body of a function that answers nothing: no panic passes.
pub(super) fn guard_quietly(body: impl FnOnce()) {
    let _ = contain(|| catch_unwind(AssertUnwindSafe(body)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_status() {
        let status = guard("test", || panic!("inside"));
        assert_eq!(status, Status::Internal as kvreg_status);
        guard_quietly(|| panic!("inside"));
        assert!(super::super::status::last_error().starts_with("test: internal error"));
    }
}
