//! The three ways to update: by a callback now, by a callback later, and without one.

use std::ffi::c_void;

use super::argument::{self, invalid, Out};
use super::begun::{self, Begun, Key};
use super::fast::{self, Output};
use super::guard::{guard, guard_since};
use super::kinds::{kvreg_bucket, kvreg_update};
use super::object::with;
use super::one_key::OK;
use super::status::{kvreg_status, kvreg_verdict, Failure, Status};
use super::value::{given, kvreg_value, Copies};
use crate::bucket::{Deciding, Decision};
use crate::error::Error;
use crate::memory;
use crate::runtime;
use crate::runtime::platform;
use crate::server::{Lasts, StillInside};
use crate::store;

pub(super) const KEEP: kvreg_verdict = 0;
const STORE: kvreg_verdict = 1;
const REMOVE: kvreg_verdict = 2;
pub(super) const ABORT: kvreg_verdict = 3;
pub(super) const CRASH: kvreg_verdict = 4;
pub(super) const STOP: kvreg_verdict = 5;
pub(super) const LATER: kvreg_verdict = 6;
pub(super) const UNHANDLED: kvreg_verdict = 7;

/// The header's `kvreg_update_fn`, which may be NULL here.
pub type kvreg_update_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        current: *const kvreg_value,
        next: *mut kvreg_value,
    ) -> kvreg_verdict,
>;

/// Does what was decided.
///
/// # Safety
/// `next` is null, or an initialised value whose text is good for its length.
#[cold]
unsafe fn apply(
    update: Decision<'_>,
    verdict: kvreg_verdict,
    next: *const kvreg_value,
) -> Result<(), Failure> {
    Ok(match verdict {
        KEEP => update.keep(),
        // SAFETY: by contract.
        STORE => update.store(unsafe { given(next) }?),
        REMOVE => update.remove(),
        ABORT => Err(Error::Aborted),
        CRASH => update.crash(),
        STOP | LATER | UNHANDLED => return Err(invalid("a verdict that no update may give")),
        _ => return Err(invalid("an unknown verdict")),
    }?)
}

/// Does what was decided by the short way, after which the update is to be dropped at once. `false`
/// if nothing was done.
///
/// # Safety
/// As of `apply`.
#[inline(always)]
unsafe fn fast_apply(
    update: Decision<'_>,
    verdict: kvreg_verdict,
    next: *const kvreg_value,
) -> bool {
    match verdict {
        KEEP => update.fast_keep(),
        STORE => {
            // No closure: the value is to be handed on in registers.
            // SAFETY: by contract.
            let Some(next) = (unsafe { next.as_ref() }) else {
                return false;
            };
            // SAFETY: as above.
            let Some(value) = (unsafe { next.get_small() }) else {
                return false;
            };
            update.fast_store_there(value).unwrap_or_else(|| {
                fast::pinned(|pinned| update.fast_store(value, pinned).then_some(())).is_some()
            })
        }
        _ => false,
    }
}

type Callback =
    unsafe extern "C" fn(*mut c_void, *const kvreg_value, *mut kvreg_value) -> kvreg_verdict;

/// Reads the value that is to be decided about, by the long way; absent is a value too.
fn read(update: Decision<'_>) -> Result<kvreg_value, Failure> {
    match update.current()? {
        Some(value) => kvreg_value::owned(value),
        None => Ok(kvreg_value::ABSENT),
    }
}

/// Asks the callback. What is `next` then may point into `current` and `copies`.
///
/// # Safety
/// The callback is what the header asks of it, and may be called with `user_data`.
#[inline(always)]
unsafe fn ask(
    callback: Callback,
    user_data: *mut c_void,
    current: &mut kvreg_value,
    next: &mut kvreg_value,
    copies: &Copies,
) -> kvreg_verdict {
    // The callback sees a value that owns nothing.
    let owned = current.lend();
    let view = match current.is_absent() {
        true => std::ptr::null(),
        false => std::ptr::from_ref(current),
    };
    // SAFETY: by contract; the view lives until the callback returns.
    let verdict = copies.keep(|| unsafe { callback(user_data, view, next) });
    current.take_back(owned);
    verdict
}

/// Asks the callback, and does what it decided.
///
/// # Safety
/// As for `ask`.
unsafe fn decide(
    update: Decision<'_>,
    callback: Callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    let mut current = read(update)?;
    let (mut next, copies) = (kvreg_value::NIL, Copies::new());
    // SAFETY: by contract; what `next` may point into lives until the end of this function.
    let done = unsafe {
        let verdict = ask(callback, user_data, &mut current, &mut next, &copies);
        apply(update, verdict, &next)
    };
    current.clear();
    done
}

/// @name Updates
///
/// Updates a key by a callback, which runs on this thread, exactly once, while the bucket does
/// nothing else (Elixir's Agent.get_and_update). What it decides is done before this function
/// returns. The answer is KVREG_ABORTED for KVREG_ABORT, KVREG_SERVER_DOWN for KVREG_CRASH, and
/// KVREG_INVALID_ARGUMENT, with nothing changed, for a value that cannot be stored and for any
/// verdict beyond KVREG_CRASH. The callback may update other buckets: a thread holds at most 256
/// turns at once, then the answer is KVREG_LIMIT. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_update(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    update: kvreg_update_fn,
    user_data: *mut c_void,
) -> kvreg_status {
    const NAME: &str = "kvreg_bucket_update";
    // Each of these is on the stack once, and as it is: the callback may update another bucket, and so
    // on, and all of it lies under that.
    let (mut current, mut next) = (kvreg_value::ABSENT, kvreg_value::NIL);
    let mut begun = None;
    // SAFETY: the key is good for its length.
    unsafe { fast_begin(&mut begun, bucket, (key, key_len), update, &mut current) };
    if current.is_absent() {
        // SAFETY: as above.
        let status = unsafe {
            begin(
                NAME,
                &mut begun,
                bucket,
                (key, key_len),
                update,
                &mut current,
            )
        };
        if status != OK {
            return status;
        }
    }
    let (Some(deciding), Some(callback)) = (&begun, update) else {
        return Status::Internal as kvreg_status; // it was checked
    };
    let bucket = deciding.decision().bucket();
    if bucket.front().is_some() || memory::is_ready() {
        begun::keep(bucket);
    }
    let (lineage, copies) = (runtime::lineage(), Copies::new());
    let verdict = platform::uncancelled(|| {
        // SAFETY: the callback and its data are good until this function returns.
        unsafe { ask(callback, user_data, &mut current, &mut next, &copies) }
    });
    // SAFETY of both: what `next` may point into lives until the end of this function.
    let status = if unsafe { fast_apply(deciding.decision(), verdict, &next) } {
        if let Some(deciding) = begun.take() {
            deciding.leave();
        }
        OK
    } else {
        unsafe { apply_slowly(NAME, lineage, &mut begun, verdict, &next) }
    };
    debug_assert!(begun.is_none());
    current.clear_here();
    copies.release();
    status
}

/// Takes the turn for a callback, and reads the value, by the short way; a value that it cannot
/// read is left absent.
///
/// # Safety
/// The key is good for its length.
#[inline(never)] // what it needs on the stack is not to lie under the callback
unsafe fn fast_begin<'k>(
    begun: &mut Option<Deciding<store::Key<'k>>>,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    callback: kvreg_update_fn,
    current: &mut kvreg_value,
) {
    // SAFETY: by contract.
    let (Some(_), Some(key)) = (callback, unsafe { fast::key(key.cast(), key_len) }) else {
        return;
    };
    fast::fast(bucket, |bucket, pinned| {
        if bucket.is_large() {
            // Others are not to wait for the memory: it is fetched before the turn is taken.
            if let Some(mut early) = bucket.fast_read(key, pinned, Output).flatten() {
                early.clear();
            }
        }
        let deciding = &*begun.insert(bucket.fast_update_begin(key, Lasts::Call)?);
        if let Some(read) = deciding.decision().fast_read(pinned, Output).flatten() {
            *current = read;
        }
        Some(())
    });
}

/// As `fast_begin`, by the long way; what that has begun is gone on with.
///
/// # Safety
/// The key is good for its length.
#[cold]
#[inline(never)]
unsafe fn begin<'k>(
    function: &'static str,
    begun: &mut Option<Deciding<store::Key<'k>>>,
    bucket: *mut kvreg_bucket,
    (key, key_len): (*const c_void, usize),
    callback: kvreg_update_fn,
    current: &mut kvreg_value,
) -> kvreg_status {
    // SAFETY: by contract.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard(function, || {
        let deciding = match begun.take() {
            Some(deciding) => deciding,
            None => with(bucket, |bucket, caller| {
                callback.ok_or_else(|| invalid("the callback is NULL"))?;
                // SAFETY: by contract.
                let key = store::Key::new(unsafe { argument::key(key, key_len) }?);
                Ok(bucket.update_begin(caller, key, Lasts::Call)?)
            })?,
        };
        *current = read(deciding.decision())?;
        *begun = Some(deciding);
        Ok(())
    })
}

/// Does what was decided by the long way, and gives the turn back.
///
/// # Safety
/// As for `apply`.
#[cold]
#[inline(never)]
unsafe fn apply_slowly(
    function: &'static str,
    lineage: usize,
    begun: &mut Option<Deciding<store::Key<'_>>>,
    verdict: kvreg_verdict,
    next: *const kvreg_value,
) -> kvreg_status {
    guard_since(lineage, function, || {
        let deciding = begun.take();
        deciding.map_or(Ok(()), |deciding| {
            // SAFETY: by contract.
            unsafe { apply(deciding.decision(), verdict, next) }
        })
    })
}

/// What an update_cast carries: destroyed exactly once, whatever becomes of the update; not in
/// a forked child, which has a copy.
struct UserData {
    data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    /// Of the process that has it.
    lineage: usize,
}

// SAFETY: the header says that the callback runs on another thread, with this pointer.
unsafe impl Send for UserData {}

impl Drop for UserData {
    fn drop(&mut self) {
        if let (Some(destroy), true) = (self.destroy, self.lineage == runtime::lineage()) {
            // SAFETY: the header promises this call, once.
            unsafe { destroy(self.data) };
        }
    }
}

/// Updates a key by a callback, later, on one of the library's threads: a cast. `destroy` may be
/// NULL; it is called with `user_data` exactly once on every path, failed ones too, and after the
/// callback if that ran. From then on `next` need not be readable any more. It is not called in a
/// forked child nor at process exit. The answer is KVREG_LIMIT if the mailbox is full. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_update_cast(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    update: kvreg_update_fn,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
) -> kvreg_status {
    let user_data = UserData {
        data: user_data,
        destroy,
        lineage: runtime::lineage(),
    };
    guard("kvreg_bucket_update_cast", || {
        with(bucket, |bucket, caller| {
            caller.unpin(); // if it is refused, `destroy` runs in here
            let callback = update.ok_or_else(|| invalid("the callback is NULL"))?;
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            let run = Box::new(move |begun: Deciding| {
                let update = begun.decision();
                let user_data = user_data; // as a whole: it is what is Send, and is dropped
                                           // SAFETY: the callback and its data are good until
                                           // `destroy`.
                let decided = unsafe { decide(update, callback, user_data.data) };
                if let Err(failure) = decided {
                    if !failure.is_expected() {
                        update.log_refused(&failure);
                    }
                }
                // Within the update: a call into the bucket from `destroy` must not wait.
                drop(user_data);
                drop(begun);
            });
            Ok(bucket.update_cast(key, run)?)
        })
    })
}

/// Begins an update without a callback. It gives the value of the key, or one of type KVREG_ABSENT
/// if the key is absent; clear it. `current` may be NULL. It also gives a handle that has the
/// bucket's turn until it is ended or freed. Until then this thread counts as being inside the
/// bucket: its calls there get KVREG_CALLING_SELF.
///
/// Any thread may end the update, but the turn stays that of the thread that began it. When that
/// thread ends, the update is ended with KVREG_ABORT and its handle is freed, in the second round
/// of destructors of the thread's pthread keys. The answer is KVREG_LIMIT if this thread holds 256
/// turns, or if the destructors of its pthread keys run. Blocks for its turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_bucket_update_begin(
    bucket: *mut kvreg_bucket,
    key: *const c_void,
    key_len: usize,
    current: *mut kvreg_value,
    update: *mut *mut kvreg_update,
) -> kvreg_status {
    let mut value = kvreg_value::NIL;
    let (mut begun, mut is_read) = (None, false);
    if !update.is_null() && key_len <= begun::SHORT && memory::is_ready() {
        // SAFETY: the key is good for its length.
        unsafe { fast::key(key.cast(), key_len) }.and_then(|key| {
            fast::fast(bucket, |bucket, pinned| {
                let deciding = &*begun.insert(bucket.fast_update_begin(key, Lasts::Open)?);
                if let Some(read) = deciding.decision().fast_read(pinned, Output).flatten() {
                    (value, is_read) = (read, true);
                }
                Some(())
            })
        });
    }
    if is_read {
        // SAFETY: null or outputs.
        if let Some(done) = begun.take().and_then(|begun| unsafe {
            let handle = Begun::open(begun, |key| Key::short(&key)).ok()?;
            update.write(handle);
            Some(Out::new(current, value).is_wanted())
        }) {
            if !done {
                value.clear();
            }
            return OK;
        }
        value.clear();
    }
    // SAFETY: the key is good for its length.
    unsafe { argument::text_at_hand(key.cast(), key_len) };
    guard("kvreg_bucket_update_begin", || {
        // SAFETY: null or outputs.
        let current = unsafe { Out::new(current, kvreg_value::NIL) };
        let update = unsafe { Out::new(update, std::ptr::null_mut()) };
        let begun = match begun.take() {
            Some(begun) => begun,
            None => with(bucket, |bucket, caller| {
                update.required()?;
                // SAFETY: the key is good for its length.
                let key = store::Key::new(unsafe { argument::key(key, key_len) }?);
                Ok(bucket.update_begin(caller, key, Lasts::Open)?)
            })?,
        };
        // SAFETY: as above.
        let own = Key::new(unsafe { argument::key(key, key_len) }?)?;
        // What nobody wants is not asked of a cluster.
        let is_asked = current.is_wanted() || !begun.decision().bucket().is_shared();
        let found = match is_asked {
            true => begun.decision().current()?,
            false => None,
        };
        let mut value = match found {
            Some(value) if current.is_wanted() => kvreg_value::owned(value)?,
            Some(_) => kvreg_value::NIL,
            None => kvreg_value::ABSENT,
        };
        let made = Begun::open(begun, |_| own);
        if made.is_err() {
            value.clear();
        }
        update.set(made?);
        current.set(value);
        Ok(())
    })
}

/// Ends an update: does what was decided, gives the turn back and frees the handle, whatever it
/// answers. `next` is read for KVREG_STORE only. The answers are those of kvreg_bucket_update. Any
/// thread may end an update. Never waits for a turn.
#[no_mangle]
pub unsafe extern "C" fn kvreg_update_end(
    update: *mut kvreg_update,
    verdict: kvreg_verdict,
    next: *const kvreg_value,
) -> kvreg_status {
    let mut begun = None;
    if matches!(verdict, KEEP | STORE) {
        if let Some(ending) = begun::fast_take(update) {
            // SAFETY: null, or a value whose text is good for its length.
            if unsafe { fast_apply(ending.decision(), verdict, next) } {
                return OK;
            }
            begun = Some(ending.into_update());
        }
    }
    guard("kvreg_update_end", || {
        let begun = match begun.take() {
            Some(begun) => begun,
            None => begun::take(update)?,
        };
        let _inside = StillInside::new();
        // SAFETY: as above.
        unsafe { apply(begun.decision(), verdict, next) }
    })
}

/// Gives up an update, as kvreg_update_end with KVREG_ABORT does, and frees the handle. NULL is
/// fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_update_free(update: *mut kvreg_update) -> kvreg_status {
    guard("kvreg_update_free", || begun::free(update))
}
