//! A descriptor that can be polled: readable while it is raised. All that is written to it
//! stays inside; users only poll.

use crate::error::Error;

#[cfg(target_os = "linux")]
pub(super) use linux::Pollable;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Pollable;

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

    use super::Error;

    /// An eventfd that counts 0 or 1.
    pub(in crate::inbox) struct Pollable {
        eventfd: OwnedFd,
        raised: bool,
    }

    impl Pollable {
        pub(in crate::inbox) fn new() -> Result<Pollable, Error> {
            // SAFETY: eventfd takes no pointers; a descriptor it gives is ours alone.
            let eventfd = unsafe {
                let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
                if fd < 0 {
                    return Err(Error::Io("making an eventfd"));
                }
                OwnedFd::from_raw_fd(fd)
            };
            Ok(Pollable {
                eventfd,
                raised: false,
            })
        }

        pub(in crate::inbox) fn descriptor(&self) -> i32 {
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

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::Error;

    /// Nothing to poll on this platform: it cannot be made.
    pub(in crate::inbox) enum Pollable {}

    impl Pollable {
        pub(in crate::inbox) fn new() -> Result<Pollable, Error> {
            Err(Error::Unsupported(
                "an inbox has no descriptor on this platform",
            ))
        }

        pub(in crate::inbox) fn descriptor(&self) -> i32 {
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
