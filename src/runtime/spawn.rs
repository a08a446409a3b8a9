//! Starts threads. std's own way aborts the process when some of its small allocations fail, and
//! leaves something behind in the thread that calls; where there are POSIX threads they are asked
//! for directly. Miri and Windows have std's.

#[cfg(all(unix, not(miri)))]
pub(super) use posix::{spawn, Started};

#[cfg(not(all(unix, not(miri))))]
pub(super) use with_std::{spawn, Started};

#[cfg(all(unix, not(miri)))]
mod posix {
    use std::ffi::{c_char, c_void};
    use std::io;
    use std::mem::{forget, MaybeUninit};
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::ptr;

    /// As large as std's.
    const STACK: usize = 2 << 20;
    /// What the system takes, and a NUL.
    const NAME: usize = 16;

    /// A thread that was started. Dropped, it is left to itself.
    pub(in crate::runtime) struct Started(libc::pthread_t);

    // SAFETY: any thread may join or detach another.
    unsafe impl Send for Started {}
    // SAFETY: shared, it does nothing.
    unsafe impl Sync for Started {}

    impl Started {
        /// Waits until the thread has left.
        pub(in crate::runtime) fn join(self) {
            // SAFETY: neither joined nor detached before, for this is the only handle of it.
            unsafe { libc::pthread_join(self.0, ptr::null_mut()) };
            forget(self);
        }
    }

    impl Drop for Started {
        fn drop(&mut self) {
            // SAFETY: as in `join`.
            unsafe { libc::pthread_detach(self.0) };
        }
    }

    struct Beginning<F> {
        name: [u8; NAME],
        work: F,
    }

    pub(in crate::runtime) fn spawn<F: FnOnce() + Send + 'static>(
        name: &str,
        work: F,
    ) -> io::Result<Started> {
        let mut beginning = Box::new(Beginning {
            name: [0; NAME],
            work,
        });
        for (to, from) in beginning.name[..NAME - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let data = Box::into_raw(beginning);
        let mut thread = MaybeUninit::uninit();
        // SAFETY: the attributes are made before they are used; the new thread takes over `data`,
        // and is the only one to use it.
        let refused = unsafe {
            let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
            let made = libc::pthread_attr_init(attributes.as_mut_ptr());
            if made == 0 {
                // Refused where pages are so large that this is no whole number of them.
                libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK);
                let attributes_of = attributes.as_ptr();
                let refused = libc::pthread_create(
                    thread.as_mut_ptr(),
                    attributes_of,
                    begin::<F>,
                    data.cast(),
                );
                libc::pthread_attr_destroy(attributes.as_mut_ptr());
                refused
            } else {
                made
            }
        };
        if refused != 0 {
            // SAFETY: no thread has it.
            drop(unsafe { Box::from_raw(data) });
            return Err(io::Error::from_raw_os_error(refused));
        }
        // SAFETY: written, for there was no error.
        Ok(Started(unsafe { thread.assume_init() }))
    }

    extern "C" fn begin<F: FnOnce() + Send + 'static>(data: *mut c_void) -> *mut c_void {
        // SAFETY: from `spawn`, which gave it to this thread.
        let Beginning { name, work } = *unsafe { Box::from_raw(data.cast::<Beginning<F>>()) };
        set_name(&name);
        // A panic is the work's own affair.
        let _ = catch_unwind(AssertUnwindSafe(work));
        ptr::null_mut()
    }

    fn set_name(name: &[u8; NAME]) {
        let name: *const c_char = name.as_ptr().cast();
        // SAFETY: it ends in a NUL.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        unsafe {
            libc::pthread_setname_np(libc::pthread_self(), name)
        };
        // SAFETY: as above.
        #[cfg(target_os = "macos")]
        unsafe {
            libc::pthread_setname_np(name)
        };
        let _ = name;
    }
}

#[cfg(not(all(unix, not(miri))))]
mod with_std {
    use std::io;
    use std::thread::{Builder, JoinHandle};

    /// A thread that was started. Dropped, it is left to itself.
    pub(in crate::runtime) struct Started(JoinHandle<()>);

    impl Started {
        /// Waits until the thread has left.
        pub(in crate::runtime) fn join(self) {
            let _ = self.0.join();
        }
    }

    pub(in crate::runtime) fn spawn<F: FnOnce() + Send + 'static>(
        name: &str,
        work: F,
    ) -> io::Result<Started> {
        Builder::new().name(name.into()).spawn(work).map(Started)
    }
}
