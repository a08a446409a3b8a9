//! Why a call fails: what it answers, and what people are told.

use std::collections::TryReserveError;
use std::io;
use std::path::Path;

use crate::abi::{self, Status};

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// A sentence without a full stop.
    pub(crate) text: String,
    /// The system's number, or 0.
    pub(crate) os_error: i32,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure {
            status,
            text: text.into(),
            os_error: 0,
        }
    }

    pub(crate) fn io(text: impl Into<String>) -> Failure {
        Failure::new(abi::IO, text)
    }

    /// The system refused something about this file.
    pub(crate) fn of_system(path: &Path, error: &io::Error) -> Failure {
        Failure {
            status: match is_no_room(error) {
                true => abi::LIMIT,
                false => abi::IO,
            },
            text: format!("{}: {error}", path.display()),
            os_error: error.raw_os_error().unwrap_or(0),
        }
    }

    /// redb refused something about this file.
    pub(crate) fn of_redb(path: &Path, error: redb::Error) -> Failure {
        match error {
            redb::Error::Io(error) => Failure::of_system(path, &error),
            error => {
                let text = format!("{}: {error}", path.display());
                Failure::io(text.trim_end_matches('.'))
            }
        }
    }

    /// The same, where nobody knows what is stored.
    pub(crate) fn unknown(self) -> Failure {
        Failure {
            status: abi::IO,
            ..self
        }
    }

    /// The same, where nothing is stored for want of room.
    pub(crate) fn no_room(self) -> Failure {
        Failure {
            status: abi::LIMIT,
            ..self
        }
    }

    /// What was to be stored is surely not stored, and may be tried again.
    pub(crate) fn may_be_repeated(&self) -> bool {
        matches!(self.status, abi::LIMIT | abi::NO_MEMORY)
    }
}

impl From<TryReserveError> for Failure {
    fn from(_: TryReserveError) -> Failure {
        Failure::new(abi::NO_MEMORY, "there is no memory")
    }
}

/// The disk is full, or what this user may have of it, or the file is as large as it may be.
pub(crate) fn is_no_room(error: &io::Error) -> bool {
    #[cfg(unix)]
    let numbers = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];
    #[cfg(windows)]
    let numbers = [39, 112]; // ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL
    error.raw_os_error().is_some_and(|it| numbers.contains(&it))
}
