//! How long somebody waits.

use std::time::{Duration, Instant};

use crate::error::Error;

/// How long a call may wait for its turn.
///
/// Whatever takes one takes a [`Duration`] too, where none at all is [`Timeout::Now`]. A call
/// that timed out is withdrawn: it has not run and never will.
///
/// ```
/// use std::time::Duration;
/// use kvreg::{Bucket, Error, Inbox, Timeout};
///
/// let bucket = Bucket::start()?.with_timeout(Duration::from_millis(500));
/// bucket.put("milk", 1)?;
/// assert_eq!(Inbox::open()?.receive(Timeout::Now), Err(Error::Timeout));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Do it only if there is nothing to wait for, queued messages included.
    Now,
    /// Wait so long, and no longer.
    After(Duration),
    /// Wait as long as it takes.
    Never,
}

impl From<Duration> for Timeout {
    fn from(wait: Duration) -> Timeout {
        match wait.is_zero() {
            true => Timeout::Now,
            false => Timeout::After(wait),
        }
    }
}

impl Timeout {
    /// What a call gets unless its handle says otherwise (OTP's `GenServer.call`).
    pub const DEFAULT: Timeout = Timeout::from_millis_const(5000);

    pub(crate) fn is_now(self) -> bool {
        matches!(self, Timeout::Now | Timeout::After(Duration::ZERO))
    }

    const fn from_millis_const(millis: u64) -> Timeout {
        Timeout::After(Duration::from_millis(millis))
    }

    /// Milliseconds, as the C interface has them: -1 is for ever, 0 only if it need not wait.
    pub fn from_millis(millis: i64) -> Result<Timeout, Error> {
        match millis {
            -1 => Ok(Timeout::Never),
            0 => Ok(Timeout::Now),
            1.. => Ok(Timeout::from_millis_const(millis as u64)),
            _ => Err(Error::InvalidArgument("a timeout is -1 or more")),
        }
    }

    /// As `from_millis` takes it; a part of a millisecond is a whole one.
    pub(crate) fn to_millis(self) -> i64 {
        match self {
            Timeout::Now => 0,
            Timeout::After(wait) => {
                i64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
            }
            Timeout::Never => -1,
        }
    }

    /// Starts the clock.
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Timeout::Now => Deadline(When::Now),
            // What lies beyond the clock's range is never.
            Timeout::After(wait) => Deadline(
                Instant::now()
                    .checked_add(wait)
                    .map_or(When::Never, When::At),
            ),
            Timeout::Never => Deadline(When::Never),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Deadline(When);

#[derive(Clone, Copy)]
enum When {
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(wait: Duration) -> Deadline {
        Timeout::After(wait).deadline()
    }

    /// There was no time to wait from the beginning.
    pub(crate) fn is_now(&self) -> bool {
        matches!(self.0, When::Now)
    }

    pub(crate) fn has_passed(&self) -> bool {
        match self.0 {
            When::Now => true,
            When::At(at) => Instant::now() >= at,
            When::Never => false,
        }
    }

    /// What is left to wait; `None` is for ever.
    pub(crate) fn left(&self) -> Option<Duration> {
        match self.0 {
            When::Now => Some(Duration::ZERO),
            When::At(at) => Some(at.saturating_duration_since(Instant::now())),
            When::Never => None,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// The clock of a unit test, in milliseconds; 0: it is not set. All threads of a scenario of the
    /// model are one.
    pub(crate) static SET: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A moment of the clock by which keys live: it goes on while the machine is suspended, and all
/// processors have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Whole milliseconds.
    ms: u64,
    /// 1 if there is a part of one more.
    part: u64,
}

impl Moment {
    pub(crate) fn now() -> Moment {
        #[cfg(test)]
        if let set @ 1.. = SET.get() {
            // What was done before the clock came so far is seen by who reads it.
            crate::sync::fence(crate::sync::Ordering::SeqCst);
            return Moment::from_nanos(set * 1_000_000);
        }
        Moment::from_nanos(boot_nanos())
    }

    fn from_nanos(nanos: u64) -> Moment {
        let ms = nanos / 1_000_000;
        Moment {
            ms,
            part: u64::from(nanos > ms * 1_000_000),
        }
    }

    /// Whole milliseconds.
    #[inline(always)]
    pub(crate) fn ms(self) -> u64 {
        self.ms
    }

    /// So many milliseconds later, and no less.
    #[inline(always)]
    pub(crate) fn after(self, ms: u64) -> u64 {
        self.ms + self.part + ms
    }

    /// Whether a deadline is over.
    #[inline(always)]
    pub(crate) fn is_past(self, deadline: u64) -> bool {
        deadline <= self.ms
    }

    /// The milliseconds to a deadline, 1 at least.
    pub(crate) fn until(self, deadline: u64) -> u64 {
        deadline.saturating_sub(self.ms + self.part).max(1)
    }
}

/// Milliseconds of a clock that is read at once, and is some milliseconds late: of how long something
/// lasts.
#[inline]
pub(crate) fn coarse_ms() -> u64 {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        const CLOCK: libc::clockid_t = if cfg!(miri) {
            libc::CLOCK_MONOTONIC // Miri knows no other
        } else {
            libc::CLOCK_MONOTONIC_COARSE
        };
        // SAFETY: an output.
        unsafe { libc::clock_gettime(CLOCK, &mut time) };
        time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    Moment::now().ms()
}

#[cfg(unix)]
#[inline]
fn boot_nanos() -> u64 {
    // Elsewhere this one goes on in suspend, as far as there is one that does.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: libc::clockid_t = if cfg!(miri) {
        libc::CLOCK_MONOTONIC // Miri knows no other
    } else {
        libc::CLOCK_BOOTTIME
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: an output.
    unsafe { libc::clock_gettime(CLOCK, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000) + time.tv_nsec as u64
}

#[cfg(windows)]
fn boot_nanos() -> u64 {
    #[link(name = "kernel32")]
    extern "system" {
        fn GetTickCount64() -> u64;
    }
    // SAFETY: it takes nothing.
    unsafe { GetTickCount64() * 1_000_000 }
}

/// The moment at which one thing is done: the clock is looked at once, when it is asked for first.
#[derive(Default)]
pub(crate) struct Clock(std::cell::Cell<Option<Moment>>);

impl Clock {
    #[inline(always)]
    pub(crate) fn new() -> Clock {
        Clock(std::cell::Cell::new(None))
    }

    #[inline]
    pub(crate) fn now(&self) -> Moment {
        self.0.get().unwrap_or_else(|| {
            let now = Moment::now();
            self.0.set(Some(now));
            now
        })
    }

    /// The moment, if it was asked for.
    pub(crate) fn seen(&self) -> Option<Moment> {
        self.0.get()
    }
}
