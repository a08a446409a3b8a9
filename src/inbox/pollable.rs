//! What an event loop waits for: raised while events wait. All that is written to it stays
//! inside; users only poll.

use crate::error::Error;

#[cfg(target_os = "linux")]
pub(super) use linux::Pollable;

#[cfg(windows)]
pub(super) use windows::Pollable;

#[cfg(not(any(target_os = "linux", windows)))]
pub(super) use elsewhere::Pollable;

/// What a user asks for: each platform has one of them at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// A file descriptor, readable while it is raised.
    Descriptor,
    /// A Windows event, signalled while it is raised.
    Handle,
}

impl Polled {
    pub(super) fn unsupported(self) -> Error {
        Error::Unsupported(match self {
            Polled::Descriptor => "an inbox has no descriptor on this platform",
            Polled::Handle => "an inbox has no event handle on this platform",
        })
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

    use super::{Error, Polled};

    /// An eventfd that counts 0 or 1.
    pub(in crate::inbox) struct Pollable {
        eventfd: OwnedFd,
        raised: bool,
    }

    impl Pollable {
        pub(in crate::inbox) const IS: Option<Polled> = Some(Polled::Descriptor);

        pub(in crate::inbox) fn new() -> Result<Pollable, Error> {
            // SAFETY: eventfd takes no pointers; a descriptor it gives is ours alone.
            let eventfd = unsafe {
                let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
                if fd < 0 {
                    return Err(Error::last_io("making an eventfd"));
                }
                OwnedFd::from_raw_fd(fd)
            };
            Ok(Pollable {
                eventfd,
                raised: false,
            })
        }

        /// What users poll, as a number.
        pub(in crate::inbox) fn number(&self) -> isize {
            self.descriptor() as isize
        }

        fn descriptor(&self) -> i32 {
            self.eventfd.as_raw_fd()
        }

        pub(in crate::inbox) fn raise(&mut self) {
            if !self.raised {
                let one = 1u64.to_ne_bytes();
                // SAFETY: eight readable bytes. It cannot fail: the count is 0.
                unsafe { libc::write(self.descriptor(), one.as_ptr().cast(), one.len()) };
                self.raised = true;
            }
        }

        pub(in crate::inbox) fn lower(&mut self) {
            if self.raised {
                let mut count = [0u8; 8];
                // SAFETY: eight writable bytes. It cannot block: the count is 1.
                unsafe { libc::read(self.descriptor(), count.as_mut_ptr().cast(), count.len()) };
                self.raised = false;
            }
        }

        /// Readable from here on, to the end of the process: closed under those who poll it, they
        /// would never wake, or wake for what has its number next.
        pub(in crate::inbox) fn leave_raised(mut self) {
            self.raise();
            let _ = self.eventfd.into_raw_fd();
        }
    }
}

#[cfg(windows)]
mod windows {
    use std::os::windows::io::{AsRawHandle, FromRawHandle, IntoRawHandle, OwnedHandle};

    use windows_sys::Win32::System::Threading::{CreateEventW, ResetEvent, SetEvent};

    use super::{Error, Polled};

    /// An event that stays signalled until it is reset, and wakes all who wait for it: what the
    /// eventfd is elsewhere. It is raised and lowered under the inbox's lock, so that it cannot be
    /// lowered after an event that came later.
    pub(in crate::inbox) struct Pollable {
        event: OwnedHandle,
        raised: bool,
    }

    impl Pollable {
        pub(in crate::inbox) const IS: Option<Polled> = Some(Polled::Handle);

        pub(in crate::inbox) fn new() -> Result<Pollable, Error> {
            const MANUAL_RESET: i32 = 1;
            const NOT_SIGNALLED: i32 = 0;
            // SAFETY: no attributes (so no child process inherits it) and no name; a handle it
            // gives is ours alone.
            let event = unsafe {
                let event = CreateEventW(
                    std::ptr::null(),
                    MANUAL_RESET,
                    NOT_SIGNALLED,
                    std::ptr::null(),
                );
                if event.is_null() {
                    return Err(Error::last_io("making an event"));
                }
                OwnedHandle::from_raw_handle(event)
            };
            Ok(Pollable {
                event,
                raised: false,
            })
        }

        /// What users wait for, as a number.
        pub(in crate::inbox) fn number(&self) -> isize {
            self.event.as_raw_handle() as isize
        }

        pub(in crate::inbox) fn raise(&mut self) {
            if !self.raised {
                // SAFETY: an event of ours that is open.
                unsafe { SetEvent(self.event.as_raw_handle()) };
                self.raised = true;
            }
        }

        pub(in crate::inbox) fn lower(&mut self) {
            if self.raised {
                // SAFETY: as above.
                unsafe { ResetEvent(self.event.as_raw_handle()) };
                self.raised = false;
            }
        }

        /// Signalled from here on, to the end of the process: closed under those who wait for it,
        /// they would never wake, or wake for what has its number next.
        pub(in crate::inbox) fn leave_raised(mut self) {
            self.raise();
            let _ = self.event.into_raw_handle();
        }
    }
}

#[cfg(not(any(target_os = "linux", windows)))]
mod elsewhere {
    use super::{Error, Polled};

    /// Nothing to poll on this platform: it is never made.
    pub(in crate::inbox) enum Pollable {}

    impl Pollable {
        pub(in crate::inbox) const IS: Option<Polled> = None;

        pub(in crate::inbox) fn new() -> Result<Pollable, Error> {
            Err(Polled::Descriptor.unsupported())
        }

        pub(in crate::inbox) fn number(&self) -> isize {
            match *self {}
        }

        pub(in crate::inbox) fn raise(&mut self) {
            match *self {}
        }

        pub(in crate::inbox) fn lower(&mut self) {
            match *self {}
        }

        pub(in crate::inbox) fn leave_raised(self) {
            match self {}
        }
    }
}
