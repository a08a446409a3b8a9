//! After a fork (G11): the child has one thread, the one that forked, and everything the
//! library had belongs to threads that are not there.
//!
//! # The argument
//!
//! `_Fork`, and the system call itself, run no handlers, and after `fork` a handler of the user's
//! may run before kvreg's. So the child finds out by itself: the pointer to the present state
//! ([`Base`]) lies in a page ([`CURRENT`]) that the kernel empties for the child. Whoever calls
//! finds it null, looks, and puts the parent's state aside, to be asked later which handles it
//! had ([`current`]). A call in progress finds the same when it comes back from the user
//! code that forked, for it asks whether its state is the current one. What each thread keeps
//! for itself names the state that it belongs to (`reclaim::Pins`), and is forgotten when that is
//! another one.
//!
//! All that takes no lock and allocates nothing. From then on the parent's objects are looked at
//! through atomics only, or not at all: a callback that forked comes back to a turn that does
//! nothing any more (`server::Turn`), and a destructor of the user's that forked leaves by
//! unwinding up to the boundary, for the code after it would take the parent's locks. A thread of
//! the parent's runtime has nowhere to come back to in the child: it ends the child, as a thread
//! that returns would.
//!
//! A system that does not empty the page is asked for the process's number instead, at each call.
//! Outside Linux forks are noticed by a handler only. On Windows no process forks.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::{panic, thread_end, ThreadOptions, Threads};

/// What every floor knows of the state that a process has once. The whole of it is made at the
/// top; that of each floor begins with that of the floor below, and this is the lowest.
pub(crate) struct Base {
    /// The system's number of the process: another one in a forked child.
    id: u32,
    /// In a forked child: the state before this one, and so on.
    older: AtomicPtr<Base>,
    threads: Threads,
}

/// Where a state begins. It leads to the whole of it: a reference to its [`Base`] would lead no
/// further than that.
pub(crate) type Beginning = NonNull<Base>;

impl Base {
    pub(crate) fn new(threads: ThreadOptions) -> Base {
        Base {
            id: std::process::id(),
            older: AtomicPtr::default(),
            threads: Threads::new(threads),
        }
    }

    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Whether this is the state of the process that runs, and not of one that it forked from.
    pub(crate) fn is_current(&self) -> bool {
        current().is_some_and(|current| ptr::eq(current.as_ptr(), self))
    }

    /// Called after user code that the caller of the calling code cannot know of, with no lock
    /// held: leaves by unwinding if that code forked, and this is the child.
    pub(crate) fn leave_if_forked(&self) {
        if self.is_current() {
            return;
        }
        leave_own_thread();
        std::panic::resume_unwind(Box::new("forked in a destructor"));
    }
}

/// Pages are not larger where the system is asked to empty one.
const PAGE: usize = if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    64 << 10
} else {
    4 << 10
};

/// A page of its own, which a forked child finds empty.
#[cfg_attr(
    all(target_os = "linux", target_arch = "aarch64"),
    repr(C, align(65536))
)]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "aarch64")),
    repr(C, align(4096))
)]
struct Page {
    base: AtomicPtr<Base>,
    /// Set before there is a state: so that a null pointer that was just not set yet is told
    /// from one that was taken away.
    is_marked: AtomicBool,
}

const _: () = assert!(size_of::<Page>() == PAGE && align_of::<Page>() == PAGE);

/// The present state, where the children of the process do not see it. Null says only that it is
/// to be looked for.
static CURRENT: Page = Page {
    base: AtomicPtr::new(ptr::null_mut()),
    is_marked: AtomicBool::new(false),
};

/// The system empties the page.
static IS_EMPTIED: AtomicBool = AtomicBool::new(false);

/// What was made last: in `CURRENT` too, once others may use it. In a forked child it is the
/// parent's, until that is put aside.
static MADE: AtomicPtr<Base> = AtomicPtr::new(ptr::null_mut());

/// In a forked child: what it inherited.
static INHERITED: AtomicPtr<Base> = AtomicPtr::new(ptr::null_mut());

/// The present state, if any was made in this process.
#[inline(always)]
pub(crate) fn current() -> Option<Beginning> {
    match NonNull::new(CURRENT.base.load(Ordering::Acquire)) {
        None => find(),
        found => found,
    }
}

/// The long way, which sees whether this is a forked child now.
#[cold]
fn find() -> Option<Beginning> {
    loop {
        let made = NonNull::new(MADE.load(Ordering::Acquire))?;
        if !has_forked_since(base_of(made).id) {
            return Some(made);
        }
        put_aside(made);
    }
}

/// Its lowest floor.
fn base_of(state: Beginning) -> &'static Base {
    // SAFETY: from `publish`, and what that was given is never freed.
    unsafe { state.as_ref() }
}

/// Makes a state where there is none: the top's.
type Maker = fn() -> Beginning;

static MAKER: AtomicPtr<Maker> = AtomicPtr::new(ptr::null_mut());

/// The present state; made anew in a forked child that has none yet.
pub(crate) fn current_or_made() -> Beginning {
    current().unwrap_or_else(|| {
        // SAFETY: null, or static.
        let make = unsafe { MAKER.load(Ordering::Acquire).as_ref() };
        make.expect("a state was made before")()
    })
}

/// Makes the state the present one, unless another thread was faster; then it is the caller's
/// again, beside the one that is there.
///
/// # Safety
/// It is from `Box::into_raw`, of the one type that the top makes.
pub(crate) unsafe fn publish(made: Beginning) -> Result<(), Beginning> {
    let (null, made) = (ptr::null_mut(), made.as_ptr());
    match MADE.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            if IS_EMPTIED.load(Ordering::Relaxed) || !cfg!(target_os = "linux") {
                CURRENT.base.store(made, Ordering::Release);
            }
            Ok(())
        }
        // It is not null, or this thread would have been the faster one.
        Err(faster) => NonNull::new(faster).map_or(Ok(()), Err),
    }
}

/// What this process inherited through forks, the nearest first.
pub(crate) fn inherited() -> impl Iterator<Item = Beginning> {
    current(); // it may have forked just now
    let at = |pointer: &AtomicPtr<Base>| NonNull::new(pointer.load(Ordering::Acquire));
    std::iter::successors(at(&INHERITED), move |state| at(&base_of(*state).older))
}

/// Tells a process from the one that it forked from: a call that began there ends here.
pub(crate) fn lineage() -> usize {
    current(); // it may have forked just now
    INHERITED.load(Ordering::Acquire).addr()
}

/// So many at most are called in a child.
const CALLED: usize = 16;

/// What is called in a forked child, as soon as it is known to be one: async-signal-safe, and it does
/// no harm if it is called again.
static IN_CHILDREN: [AtomicPtr<()>; CALLED] = [const { AtomicPtr::new(ptr::null_mut()) }; CALLED];

/// Has a function called in each child from here on.
#[cfg_attr(not(feature = "capi"), allow(dead_code))]
pub(crate) fn call_in_children(function: unsafe extern "C" fn()) {
    let address = function as *mut ();
    for place in &IN_CHILDREN {
        let (null, set) = (ptr::null_mut(), Ordering::AcqRel);
        match place.compare_exchange(null, address, set, Ordering::Acquire) {
            Ok(_) => return,
            Err(there) if there == address => return,
            Err(_) => {}
        }
    }
}

fn call_those_of_children() {
    for place in &IN_CHILDREN {
        let address = place.load(Ordering::Acquire);
        if address.is_null() {
            return;
        }
        // SAFETY: from `call_in_children`.
        unsafe { std::mem::transmute::<*mut (), unsafe extern "C" fn()>(address)() };
    }
}

/// In a forked child: this belongs to the parent. Takes no lock. It does not matter if two
/// threads of the child come here at once: each step can be made twice.
#[cold]
fn put_aside(state: Beginning) {
    let this = state.as_ptr();
    let mut newest = INHERITED.load(Ordering::Acquire);
    while !ptr::eq(newest, this) {
        base_of(state).older.store(newest, Ordering::Release);
        match INHERITED.compare_exchange(newest, this, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break,
            Err(newer) => newest = newer,
        }
    }
    thread_end::forget_parent();
    call_those_of_children();
    let (null, taken, other) = (ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
    let _ = CURRENT.base.compare_exchange(this, null, taken, other);
    let _ = MADE.compare_exchange(this, null, taken, other);
}

/// Whether the system will empty the page from now on.
#[cfg(all(target_os = "linux", not(miri)))]
fn have_emptied(page: &'static Page) -> bool {
    let address = ptr::from_ref(page).cast_mut().cast();
    // Some emulators take any advice, and follow none: they take this one too.
    const NO_ADVICE: libc::c_int = -1;
    // SAFETY: a page of ours, whole. The advice concerns a child's memory only.
    unsafe {
        libc::madvise(address, PAGE, NO_ADVICE) != 0
            && libc::madvise(address, PAGE, libc::MADV_WIPEONFORK) == 0
    }
}

/// Miri knows neither the advice nor forks.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn have_emptied(_page: &'static Page) -> bool {
    false
}

/// Called before a state is published: perhaps by two threads at once, which does no harm.
pub(crate) fn watch_forks(make: &'static Maker) {
    MAKER.store(ptr::from_ref(make).cast_mut(), Ordering::Release);
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);
    if !IS_WATCHED.load(Ordering::Acquire) {
        IS_EMPTIED.store(have_emptied(&CURRENT), Ordering::Relaxed);
        // SAFETY: the handler only stores to atomics and to its thread's own storage. Where
        // there is no memory for it, it is missed outside Linux only.
        #[cfg(all(unix, not(miri)))]
        unsafe {
            libc::pthread_atfork(None, None, Some(child));
        }
        IS_WATCHED.store(true, Ordering::Release);
    }
    CURRENT.is_marked.store(true, Ordering::Release);
}

/// Whether this is a child of the process that had this number.
fn has_forked_since(number: u32) -> bool {
    let was_emptied =
        IS_EMPTIED.load(Ordering::Relaxed) && !CURRENT.is_marked.load(Ordering::Acquire);
    // The number too: another thread of the child may have begun anew meanwhile.
    was_emptied || number != std::process::id()
}

/// Looks whether this is a forked child, and if so gives up what belongs to the parent.
#[cfg(all(unix, not(miri)))]
unsafe extern "C" fn child() {
    let made = NonNull::new(MADE.load(Ordering::Acquire));
    if let Some(made) = made.filter(|made| has_forked_since(base_of(*made).id)) {
        put_aside(made);
    }
}

/// Ends the child, of which the calling thread is one of the parent's runtime.
fn leave_own_thread() {
    if panic::is_own_thread() {
        // SAFETY: as if this thread, the last one, had returned.
        unsafe { libc::exit(0) }
    }
}
