//! The three ways to update: by a callback now, by a callback later, and without one.

use std::ffi::c_void;

use super::argument::{self, invalid, Out};
use super::guard::{guard, guard_since};
use super::object::{free, kvreg_bucket, kvreg_update, releasing, with, Begun};
use super::status::{kvreg_status, kvreg_verdict, Failure, Status};
use super::value::{given, kvreg_value, Copies};
use crate::bucket::Deciding;
use crate::error::Error;
use crate::runtime;
use crate::runtime::platform;
use crate::server::Lasts;
use crate::value::Value;

const KEEP: kvreg_verdict = 0;
const STORE: kvreg_verdict = 1;
const REMOVE: kvreg_verdict = 2;
const ABORT: kvreg_verdict = 3;
const CRASH: kvreg_verdict = 4;
const STOP: kvreg_verdict = 5;
const LATER: kvreg_verdict = 6;
const UNHANDLED: kvreg_verdict = 7;

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
unsafe fn apply(
    update: &mut Deciding,
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

type Callback =
    unsafe extern "C" fn(*mut c_void, *const kvreg_value, *mut kvreg_value) -> kvreg_verdict;

/// Asks the callback. What is `next` then may point into `current` and `copies`.
///
/// # Safety
/// The callback is what the header asks of it, and may be called with `user_data`.
#[inline(always)]
unsafe fn ask(
    callback: Callback,
    user_data: *mut c_void,
    current: Option<&Value>,
    next: &mut kvreg_value,
    copies: &Copies,
) -> kvreg_verdict {
    let view = current.map(kvreg_value::borrowed);
    let view = view.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: by contract; the view lives until the callback returns.
    copies.keep(|| unsafe { callback(user_data, view, next) })
}

/// Asks the callback, and does what it decided.
///
/// # Safety
/// As for `ask`.
unsafe fn decide(
    update: &mut Deciding,
    callback: Callback,
    user_data: *mut c_void,
) -> Result<(), Failure> {
    let current = update.current()?;
    let (mut next, copies) = (kvreg_value::NIL, Copies::new());
    // SAFETY: by contract; what `next` may point into lives until the end of this function.
    unsafe {
        let verdict = ask(callback, user_data, current.as_ref(), &mut next, &copies);
        apply(update, verdict, &next)
    }
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
    let lineage = runtime::lineage();
    let mut begun = None;
    let status = guard_since(lineage, NAME, || {
        let mut deciding = with(bucket, |bucket, caller| {
            update.ok_or_else(|| invalid("the callback is NULL"))?;
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            Ok(bucket.update_begin(caller, key, Lasts::Call)?)
        })?;
        let current = deciding.current()?;
        begun = Some((deciding, current));
        Ok(())
    });
    // Between the guards, for the callback may update another bucket, and so on: what lies on
    // the stack under it is on it once for each.
    let (Some((mut deciding, current)), Some(callback)) = (begun, update) else {
        return status;
    };
    let (mut next, copies) = (kvreg_value::NIL, Copies::new());
    let verdict = platform::uncancelled(|| {
        // SAFETY: the callback and its data are good until this function returns.
        unsafe { ask(callback, user_data, current.as_ref(), &mut next, &copies) }
    });
    guard_since(lineage, NAME, || {
        // SAFETY: what `next` may point into lives until the end of this function.
        let applied = unsafe { apply(&mut deciding, verdict, &next) };
        drop(deciding); // the turn
        applied
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
            let run = Box::new(move |mut begun: Deciding| {
                let user_data = user_data; // as a whole: it is what is Send, and is dropped
                                           // SAFETY: the callback and its data are good until
                                           // `destroy`.
                let decided = unsafe { decide(&mut begun, callback, user_data.data) };
                if let Err(failure) = decided {
                    if !failure.is_expected() {
                        begun.log_refused(&failure);
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
    guard("kvreg_bucket_update_begin", || {
        // SAFETY: null or outputs.
        let current = unsafe { Out::new(current, kvreg_value::NIL) };
        let update = unsafe { Out::new(update, std::ptr::null_mut()) };
        let mut begun = with(bucket, |bucket, caller| {
            update.required()?;
            // SAFETY: the key is good for its length.
            let key = unsafe { argument::key(key, key_len) }?;
            Ok(bucket.update_begin(caller, key, Lasts::Open)?)
        })?;
        let mut value = match begun.current()? {
            Some(value) if current.is_wanted() => kvreg_value::owned(value)?,
            Some(_) => kvreg_value::NIL,
            None => kvreg_value::ABSENT,
        };
        let made = Begun::make(begun, &update);
        if made.is_err() {
            value.clear();
        }
        made?;
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
    guard("kvreg_update_end", || {
        let begun = releasing(update, |begun, _| {
            begun.take().ok_or_else(|| Failure::from(Status::BadHandle))
        });
        let mut begun = begun?;
        free(update)?;
        // SAFETY: null, or a value whose text is good for its length.
        unsafe { apply(&mut begun, verdict, next) }
    })
}

/// Gives up an update, as kvreg_update_end with KVREG_ABORT does, and frees the handle. NULL is
/// fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_update_free(update: *mut kvreg_update) -> kvreg_status {
    guard("kvreg_update_free", || free(update))
}
