//! Statuses, and what goes with them: names, messages and the last error of a thread.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::mem::ManuallyDrop;

use super::engine::explanation;
use crate::error::{refused, Error};
use crate::runtime::platform;
use crate::runtime::thread_end;

pub type kvreg_status = i32;
pub type kvreg_reason = i32;
pub type kvreg_verdict = i32;

macro_rules! statuses {
    ($($name:ident $c_name:literal $message:literal,)*) => {
        /// The numbers of the header, in its order.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        #[allow(dead_code)] // the numbers are fixed; not every status has a use yet
        pub(crate) enum Status { $($name),* }

        const TEXTS: &[(&CStr, &CStr)] = &[$(($c_name, $message)),*];

        const ALL: &[Status] = &[$(Status::$name),*];
    };
}

statuses! {
    Ok c"KVREG_OK" c"ok",
    NotFound c"KVREG_NOT_FOUND" c"no such name or key",
    AlreadyStarted c"KVREG_ALREADY_STARTED" c"the name is taken",
    NoProcess c"KVREG_NO_PROCESS" c"the server has ended; the request was not delivered",
    ServerDown c"KVREG_SERVER_DOWN" c"the server ended while it had the request",
    Timeout c"KVREG_TIMEOUT" c"timed out; the request was withdrawn",
    OutcomeUnknown c"KVREG_OUTCOME_UNKNOWN" c"timed out after the request had begun",
    CallingSelf c"KVREG_CALLING_SELF" c"the caller would wait for itself",
    BadHandle c"KVREG_BAD_HANDLE" c"the handle is NULL, freed, or made up",
    WrongKind c"KVREG_WRONG_KIND" c"the handle is of another kind",
    InvalidArgument c"KVREG_INVALID_ARGUMENT" c"invalid argument",
    WrongType c"KVREG_WRONG_TYPE" c"the value has another type",
    Conflict c"KVREG_CONFLICT" c"the value was changed meanwhile",
    Limit c"KVREG_LIMIT" c"a limit is reached; nothing was changed",
    NoMemory c"KVREG_NO_MEMORY" c"out of memory; nothing was changed",
    Aborted c"KVREG_ABORTED" c"the request was refused",
    Forked c"KVREG_FORKED" c"the handle was inherited through fork",
    ShutDown c"KVREG_SHUT_DOWN" c"the library was shut down",
    Unsupported c"KVREG_UNSUPPORTED" c"not supported",
    Io c"KVREG_IO" c"the operating system refused",
    Internal c"KVREG_INTERNAL" c"internal error: a bug in kvreg",
    TooSmall c"KVREG_TOO_SMALL" c"the buffer is too small",
}

/// Why a function fails: the status for programs, and a sentence for people.
pub(super) struct Failure {
    status: Status,
    /// Empty: the status's own message says it all.
    text: Cow<'static, str>,
    /// The operating system's error number; 0 if it gave none.
    os_error: i32,
}

impl Status {
    pub(super) fn from_number(status: kvreg_status) -> Option<Status> {
        ALL.get(usize::try_from(status).ok()?).copied()
    }
}

impl Failure {
    pub(super) fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure {
            status,
            text: text.into(),
            os_error: 0,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, message) = texts(self.status as kvreg_status);
        f.write_str(&message.to_string_lossy())?;
        match &*self.text {
            "" => Ok(()),
            text => write!(f, ": {text}"),
        }
    }
}

impl Failure {
    pub(super) fn status(&self) -> Status {
        self.status
    }

    pub(super) fn is_limit(&self) -> bool {
        self.status == Status::Limit
    }

    pub(super) fn is_no_memory(&self) -> bool {
        self.status == Status::NoMemory
    }

    /// Of two handles: the header's order, as far as it is about handles.
    pub(super) fn comes_before(&self, other: &Failure) -> bool {
        use Status::{BadHandle, Forked, ShutDown, WrongKind};
        let place = |failure: &Failure| {
            let order = [Forked, ShutDown, BadHandle, WrongKind];
            let place = order.iter().position(|status| *status == failure.status);
            place.unwrap_or(order.len())
        };
        place(self) < place(other)
    }

    /// Whether the update itself asked for it, or its bucket is gone or the parent's: nothing
    /// went wrong.
    pub(super) fn is_expected(&self) -> bool {
        use Status::{Aborted, Forked, ServerDown};
        matches!(self.status, Aborted | ServerDown | Forked)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::new(status, "")
    }
}

/// With what an engine said about it, if it is of one.
fn explained(status: Status, text: &'static str) -> Failure {
    match explanation::of(text) {
        Some(said) => Failure::new(status, format!("{text}: {said}")),
        None => Failure::new(status, text),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::NotFound => Status::NotFound.into(),
            Error::AlreadyStarted => Status::AlreadyStarted.into(),
            Error::NoProcess => Status::NoProcess.into(),
            Error::ServerDown => Status::ServerDown.into(),
            Error::Timeout => Status::Timeout.into(),
            Error::OutcomeUnknown => Status::OutcomeUnknown.into(),
            Error::CallingSelf => Status::CallingSelf.into(),
            Error::WrongType => Status::WrongType.into(),
            Error::Conflict => Status::Conflict.into(),
            Error::InvalidArgument(text) => explained(Status::InvalidArgument, text),
            Error::Limit(text) => explained(Status::Limit, text),
            Error::NoMemory => Status::NoMemory.into(),
            Error::WrongKind => Status::WrongKind.into(),
            Error::Aborted => Status::Aborted.into(),
            Error::Forked => Status::Forked.into(),
            Error::ShutDown => Status::ShutDown.into(),
            // An inbox is closed by freeing its handle.
            Error::Closed => Failure::new(Status::BadHandle, "the inbox was freed meanwhile"),
            Error::Unsupported(text) => explained(Status::Unsupported, text),
            Error::Io { what, code } => {
                let text = match explanation::of(what) {
                    Some(said) => format!("{what}: {said}"),
                    None => refused(what, code),
                };
                Failure {
                    os_error: code.unwrap_or(0),
                    ..Failure::new(Status::Io, text)
                }
            }
        }
    }
}

/// A failure whose text is none of its own: most are, and to keep it allocates nothing, nor needs
/// it a destructor. So a forked child may fail whatever became of the allocator.
#[derive(Clone, Copy)]
struct Plain {
    function: &'static str,
    status: Status,
    text: &'static str,
}

thread_local! {
    static PLAIN: Cell<Option<Plain>> = const { Cell::new(None) };
    static OS_ERROR: Cell<i32> = const { Cell::new(0) };
    /// With a text of its own, if that was the last. Without a destructor, as all that a thread
    /// has here: see `thread_end`.
    static OWNED: ManuallyDrop<RefCell<Option<(&'static str, Failure)>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// What the thread keeps for a failure, when it ends.
pub(super) fn forget() {
    let last = OWNED.with(|last| last.borrow_mut().take());
    drop(last);
    explanation::forget();
}

/// Keeps the failure for `kvreg_last_error`; written out only if somebody asks.
pub(super) fn fail(function: &'static str, failure: Failure) -> kvreg_status {
    let status = failure.status as kvreg_status;
    if platform::is_ending() {
        return status;
    }
    let os_error = failure.os_error;
    let plain = match failure.text {
        Cow::Borrowed(text) => Some(Plain {
            function,
            status: failure.status,
            text,
        }),
        Cow::Owned(_) => {
            if thread_end::may_keep() {
                thread_end::also(forget);
                let before = OWNED.with(|place| place.replace(Some((function, failure))));
                drop(before);
            }
            None
        }
    };
    PLAIN.set(plain);
    OS_ERROR.set(os_error);
    status
}

/// The operating system's error number of the last failing call, if it answered `KVREG_IO`; else 0.
pub(super) fn last_os_error() -> i32 {
    OS_ERROR.get()
}

pub(super) fn last_error() -> String {
    if let Some(plain) = PLAIN.get() {
        let failure = Failure::new(plain.status, plain.text);
        return format!("{}: {failure}", plain.function);
    }
    let text = OWNED.with(|last| {
        let last = last.borrow();
        let (function, failure) = last.as_ref()?;
        Some(format!("{function}: {failure}"))
    });
    text.unwrap_or_default()
}

/// The name of a number that has none.
pub(super) const UNKNOWN: &CStr = c"KVREG_UNKNOWN";

/// Name and message of any number.
pub(super) fn texts(status: kvreg_status) -> (&'static CStr, &'static CStr) {
    usize::try_from(status)
        .ok()
        .and_then(|status| TEXTS.get(status).copied())
        .unwrap_or((UNKNOWN, c"unknown status"))
}
