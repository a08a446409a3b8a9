//! `kvreg_inbox_watch*`.

use std::sync::Arc;

use super::argument::Out;
use super::guard::guard;
use super::kinds::Handle;
use super::kinds::{kvreg_bucket, kvreg_inbox, kvreg_registry};
use super::object::{releasing, with, with_registry};
use super::options::{kvreg_watch_options, watch_options};
use super::status::{kvreg_status, Failure};
use crate::inbox::InboxCore;

/// The inbox of a handle, to be kept while the caller waits for the other one. If that handle is
/// worse, it is what is told of.
fn inbox_beside<H: Handle>(
    inbox: *mut kvreg_inbox,
    other: *mut H,
) -> Result<Arc<InboxCore>, Failure> {
    with(inbox, |inbox, _| Ok(Arc::clone(inbox))).map_err(|failure| {
        match releasing(other, |_, _| Ok(())) {
            Err(other) if other.comes_before(&failure) => other,
            _ => failure,
        }
    })
}

/// @name Inboxes: watch
///
/// Watches keys of a bucket: NULL options are all keys. Events with this reference come to the
/// inbox: KVREG_EVENT_RESET, which says that nothing is known; the present keys, each as a
/// KVREG_EVENT_CHANGE with KVREG_CHANGE_PUT; KVREG_EVENT_CURRENT, when all that changed up to its
/// revision is known; and then each change. What is overtaken before it is received may be left
/// out, but never the last change of a key. A watch that falls behind begins anew, with
/// KVREG_EVENT_RESET and the present keys, and so it does when the bucket was cleared.
///
/// A watch is a monitor too: its last event is one KVREG_EVENT_DOWN with this reference, with the
/// reason KVREG_REASON_NOPROC at once if the bucket has ended already. What was not received by then
/// is dropped. Its place is kept, so the answer is KVREG_LIMIT beyond as many as there may be
/// monitors. The first watch of a bucket takes 4 MiB. Free it with kvreg_inbox_unwatch or with the
/// inbox; kvreg_inbox_demonitor leaves it alone. Blocks while the bucket is changed, and after casts
/// of the calling thread.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_watch(
    inbox: *mut kvreg_inbox,
    bucket: *mut kvreg_bucket,
    options: *const kvreg_watch_options,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_watch", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        let inbox = inbox_beside(inbox, bucket)?;
        with(bucket, |bucket, caller| {
            // SAFETY: by contract.
            let options = unsafe { watch_options(options) }?;
            reference.required()?;
            reference.set(bucket.watch(caller, &inbox, &options)?);
            Ok(())
        })
    })
}

/// Watches the names of a registry's buckets, as kvreg_inbox_watch the keys of one: values are nil,
/// a bucket that is created or started again is a KVREG_CHANGE_PUT, and one that has gone a
/// KVREG_CHANGE_DELETE. The prefix is that of names. A registry that comes back after a crash is
/// not watched any more: its end is the KVREG_EVENT_DOWN. Blocks while the names are changed, and
/// after casts of the calling thread.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_watch_names(
    inbox: *mut kvreg_inbox,
    registry: *mut kvreg_registry,
    options: *const kvreg_watch_options,
    reference: *mut u64,
) -> kvreg_status {
    guard("kvreg_inbox_watch_names", || {
        // SAFETY: null or an output.
        let reference = unsafe { Out::new(reference, 0) };
        let inbox = inbox_beside(inbox, registry)?;
        with_registry(registry, |registry, caller| {
            // SAFETY: by contract.
            let options = unsafe { watch_options(options) }?;
            reference.required()?;
            reference.set(registry.watch_names(caller, &inbox, &options)?);
            Ok(())
        })
    })
}

/// Takes a watch back: nothing of it arrives or remains, its KVREG_EVENT_DOWN included. An unknown
/// reference is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_inbox_unwatch(
    inbox: *mut kvreg_inbox,
    reference: u64,
) -> kvreg_status {
    guard("kvreg_inbox_unwatch", || {
        releasing(inbox, |inbox, _| Ok(inbox.unwatch(reference)?))
    })
}
