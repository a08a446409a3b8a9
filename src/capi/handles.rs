//! Handles are made, copied and freed; in the end all of them.

use std::collections::LinkedList;
use std::mem::ManuallyDrop;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::argument::Out;
use super::fast::fast;
use super::items::Items;
use super::kinds::{kvreg_bucket, Handle, Object};
use super::object::{is_inherited, is_inherited_handle, missing, token, with_timeout, Needs};
use super::replies::Deferred;
use super::status::{Failure, Status};
use super::{begun, turns};
use crate::bucket::BucketServer;
use crate::handle_table::{Invalid, Kind, Removed};
use crate::inbox::InboxCore;
use crate::listener::ListenerCore;
use crate::process::Process;
use crate::reclaim::{self, Guard};
use crate::registry::Supervisor;
use crate::runtime::platform;
use crate::sync::raw_arc;
use crate::time::Timeout;
use crate::user_server::UserServer;

/// Makes a handle for an object, and sets the output to it.
pub(super) fn make<H: Handle>(object: Arc<H::Object>, handle: &Out<*mut H>) -> Result<(), Failure> {
    object.made();
    let timeout_ms = Process::current().options().timeout_ms(object.waits_long());
    insert(object, timeout_ms, handle)
}

/// Makes a handle for an object that has counted it already.
fn insert<H: Handle>(
    object: Arc<H::Object>,
    timeout_ms: i64,
    handle: &Out<*mut H>,
) -> Result<(), Failure> {
    let process = Process::current();
    let inserted = process
        .handles()
        .insert(H::KIND, raw_arc::pointer(&object), timeout_ms);
    let token = match inserted {
        Ok(token) => token,
        Err(error) => {
            object.freed();
            return Err(error.into());
        }
    };
    raw_arc::keep(object); // the table's now
    let made: *mut H = std::ptr::without_provenance_mut(token as usize);
    // Either `shutdown` sees this handle and ends it, or this thread sees the shutdown.
    reclaim::light();
    if process.is_shut_down() {
        let _ = free(made);
        return Err(Status::ShutDown.into());
    }
    handle.set(made);
    Ok(())
}

/// The short way to a handle of a registered bucket: see `fast`. `None` if that fails.
#[inline(always)]
pub(super) fn fast_make(bucket: &Arc<BucketServer>) -> Option<*mut kvreg_bucket> {
    let process = Process::if_any()?;
    if bucket.is_backed() {
        return None;
    }
    let counted = Arc::clone(bucket);
    let (kind, object) = (kvreg_bucket::KIND, raw_arc::pointer(&counted));
    let timeout_ms = process.options().timeout_ms(false);
    let token = process.handles().insert(kind, object, timeout_ms).ok()?;
    raw_arc::keep(counted); // the table's now
    let made = std::ptr::without_provenance_mut(token as usize);
    reclaim::light(); // as in `insert`
    if process.is_shut_down() {
        let _ = free::<kvreg_bucket>(made);
        return None;
    }
    Some(made)
}

/// What a handle takes in its table.
const SLOT: usize = 64;

/// The short way to end a handle of a registered bucket: `None` if nothing was done.
#[inline(always)]
pub(super) fn fast_free(handle: *mut kvreg_bucket) -> Option<()> {
    fast(handle, |bucket, pinned| {
        if !bucket.is_registered() {
            return None; // perhaps its last
        }
        let process = Process::if_any()?;
        let removed = process.handles().remove(token(handle), kvreg_bucket::KIND);
        // It gives back a count and a slot, unless the bucket is gone but for its handles: else a
        // thread that only looks buckets up would collect, and disturb all others, all the time.
        let bytes = match bucket.has_ended() {
            true => size_of::<BucketServer>(),
            false => SLOT,
        };
        retire::<BucketServer>(process, removed.ok()?, bytes, pinned);
        Some(())
    })
}

/// Another handle to the same object, with the same timeout.
pub(super) fn clone<H: Handle>(handle: *mut H, clone: Out<*mut H>) -> Result<(), Failure> {
    with_timeout(Needs::Memory, handle, |object, timeout_ms, _| {
        clone.required()?;
        if !object.made_another() {
            return Err(Status::BadHandle.into());
        }
        let timeout_ms = timeout_ms.load(Ordering::Relaxed);
        insert(Arc::clone(object), timeout_ms, &clone)
    })
}

/// Sets the timeout of calls through a handle.
pub(super) fn set_timeout<H: Handle>(handle: *mut H, timeout_ms: i64) -> Result<(), Failure> {
    with_timeout(Needs::Nothing, handle, |_, place, _| {
        Timeout::from_millis(timeout_ms)?;
        place.store(timeout_ms, Ordering::Relaxed);
        Ok(())
    })
}

/// Ends a handle. NULL is fine, and after `shutdown` every handle is.
pub(super) fn free<H: Handle>(handle: *mut H) -> Result<(), Failure> {
    if handle.is_null() || platform::is_ending() {
        return Ok(());
    }
    let token = token(handle);
    if is_inherited_handle(token) {
        return Ok(()); // the parent's, and none of the child's business
    }
    let Some(process) = Process::if_any() else {
        return match is_inherited(token) {
            true => Ok(()),
            false => Err(missing(token, Invalid::Bad)),
        };
    };
    match process.handles().remove(token, H::KIND) {
        Ok(removed) => {
            retire_counted::<H::Object>(process, removed).freed();
            Ok(())
        }
        Err(_) if process.is_shut_down() || is_inherited(token) => Ok(()),
        Err(invalid) => Err(missing(token, invalid)),
    }
}

/// The count that the table had of an object.
///
/// # Safety
/// `remove` handed it out, once, and for a handle to such an object.
unsafe fn taken<T>(object: *const ()) -> Arc<T> {
    // SAFETY: made by `kept` of an `Arc` of this type, whose count is taken over.
    ManuallyDrop::into_inner(unsafe { raw_arc::kept(object) })
}

/// Drops the table's count and gives up a slot when no call on another thread relies on them.
/// `bytes` is about what that gives back.
pub(super) fn retire<T: Send + Sync + 'static>(
    process: &'static Process,
    removed: Removed,
    bytes: usize,
    pinned: &Guard,
) {
    /// Called where the thread is of the process that ended the handle.
    fn release<T>(Removed { object, slot, .. }: Removed) {
        let process = Process::if_any();
        // SAFETY: the table's own count, which `remove` hands out once, and for such an object.
        drop(unsafe { taken::<T>(object) });
        if let Some(process) = process {
            process.handles().give_back(slot);
        }
    }
    process
        .handles()
        .retire(removed, release::<T>, bytes, pinned);
}

/// As `retire`, with a count for the caller: whatever becomes of the rest, others may be using it.
fn retire_counted<T: Send + Sync + 'static>(process: &'static Process, removed: Removed) -> Arc<T> {
    let pinned = reclaim::pin();
    // SAFETY: the table's count, of such an object, is given up through the epoch.
    let kept = unsafe { raw_arc::kept::<T>(removed.object) };
    let object = Arc::clone(&kept);
    retire::<T>(process, removed, size_of::<T>(), &pinned);
    object
}

/// Ends all handles and what they lead to; inboxes last, so that they get what the servers
/// have to say.
pub(crate) fn free_all(process: &'static Process) {
    let mut inboxes = LinkedList::new(); // each by itself: there may be many, and no memory
    process.handles().remove_all(|kind, removed| match kind {
        Kind::Registry => {
            let registry = retire_counted::<Supervisor>(process, removed);
            registry.registry().end(shut_down());
        }
        Kind::Bucket => retire_counted::<BucketServer>(process, removed).end(shut_down()),
        Kind::Update => drop(begun::taken(&removed)),
        Kind::Items => retire_counted::<Items>(process, removed).freed(),
        Kind::Listener => retire_counted::<ListenerCore>(process, removed).freed(),
        Kind::Server => retire_counted::<UserServer>(process, removed).end(shut_down()),
        Kind::Turn => {
            let turn = {
                let _pinned = reclaim::pin(); // its holder is not freed before it was looked at
                turns::taken(&removed)
            };
            drop(turn);
        }
        Kind::Reply => retire_counted::<Deferred>(process, removed).give_up(),
        Kind::Inbox => inboxes.push_back(removed),
    });
    for removed in inboxes {
        retire_counted::<InboxCore>(process, removed).freed();
    }
    reclaim::tidy_all();
}

fn shut_down() -> crate::reason::Exit {
    crate::reason::Exit::new(crate::reason::Reason::Shutdown, "the library was shut down")
}
