//! An alarm clock for the library's own work, which goes on while the machine is suspended.
//!
//! tokio's timers stand still meanwhile: what is due in an hour would come an hour after the machine
//! has slept the night. On Linux the kernel has a timer that goes on, and says so by a descriptor
//! that tokio's driver waits for as it does for sockets; nobody wakes before it is time. Where there
//! is none, or the system refuses it, the alarm sleeps in short steps while it is set, and rings
//! after each: whoever it rings for looks at the clock anyway.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::sync::lock;

/// So long it sleeps at most where the machine may be suspended meanwhile.
const STEP: Duration = Duration::from_secs(1);

/// It may ring too early, and rings again if it is set again.
pub(crate) struct Alarm {
    timer: Option<timer::Timer>,
    /// Where there is no timer: when it is to ring.
    at: Mutex<Option<Instant>>,
    is_changed: Notify,
    sleeps: AtomicBool,
}

impl Alarm {
    pub(crate) fn new() -> Alarm {
        let timer = timer::Timer::new();
        Alarm {
            sleeps: AtomicBool::new(timer.is_none()),
            timer,
            at: Mutex::new(None),
            is_changed: Notify::new(),
        }
    }

    /// It rings in so long, and not when it was to ring before; `None`: not at all.
    pub(crate) fn set(&self, left: Option<Duration>) {
        *lock(&self.at) = left.and_then(|left| Instant::now().checked_add(left));
        if let Some(timer) = &self.timer {
            timer.set(left);
        }
        if self.sleeps.load(Ordering::SeqCst) {
            self.is_changed.notify_one();
        }
    }

    /// Rings whenever it is time, until it is dropped with the runtime.
    pub(crate) async fn serve(self: Arc<Alarm>, ring: impl Fn()) {
        if let Some(timer) = &self.timer {
            timer.serve(&ring).await; // and if that cannot be
        }
        self.sleeps.store(true, Ordering::SeqCst);
        loop {
            let at = *lock(&self.at);
            let Some(at) = at else {
                self.is_changed.notified().await;
                continue;
            };
            let left = at.saturating_duration_since(Instant::now());
            let changed = tokio::time::timeout(left.min(STEP), self.is_changed.notified());
            if changed.await.is_err() {
                ring();
            }
        }
    }
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod timer {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::ptr;
    use std::time::Duration;

    use tokio::io::unix::AsyncFd;
    use tokio::io::Interest;

    pub(super) struct Timer(OwnedFd);

    /// The descriptor is the timer's, which outlives this.
    struct Lent(RawFd);

    impl AsRawFd for Lent {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    impl Timer {
        pub(super) fn new() -> Option<Timer> {
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            // SAFETY: it takes no memory of ours; what it answers is a descriptor, or -1.
            unsafe {
                let made = libc::timerfd_create(libc::CLOCK_BOOTTIME, flags);
                (made >= 0).then(|| Timer(OwnedFd::from_raw_fd(made)))
            }
        }

        pub(super) fn set(&self, left: Option<Duration>) {
            // Zero stops it.
            let left = left.map_or(Duration::ZERO, |left| left.max(Duration::from_nanos(1)));
            let value = libc::timespec {
                tv_sec: left.as_secs() as libc::time_t,
                tv_nsec: left.subsec_nanos() as _,
            };
            let interval = libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let set = libc::itimerspec {
                it_interval: interval,
                it_value: value,
            };
            // SAFETY: an input.
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &set, ptr::null_mut()) };
        }

        /// Returns if tokio cannot wait for it.
        pub(super) async fn serve(&self, ring: &impl Fn()) {
            let lent = Lent(self.0.as_raw_fd());
            #[allow(deprecated)] // what is to be used instead is too new; `Lent` is no one else's
            let Ok(timer) = AsyncFd::with_interest(lent, Interest::READABLE) else {
                return;
            };
            loop {
                let Ok(mut ready) = timer.readable().await else {
                    return;
                };
                let mut rung = 0u64;
                // SAFETY: so many bytes may be written.
                let read = unsafe {
                    libc::read(self.0.as_raw_fd(), (&raw mut rung).cast(), size_of::<u64>())
                };
                match read {
                    8 => ring(),
                    _ => ready.clear_ready(),
                }
            }
        }
    }
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
mod timer {
    use std::time::Duration;

    pub(super) enum Timer {}

    impl Timer {
        pub(super) fn new() -> Option<Timer> {
            None
        }

        pub(super) fn set(&self, _left: Option<Duration>) {
            match *self {}
        }

        pub(super) async fn serve(&self, _ring: &impl Fn()) {
            match *self {}
        }
    }
}
