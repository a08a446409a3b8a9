//! Freeing what others may still read: a pin beside who takes out, hands over and frees.

use std::cell::Cell;
use std::sync::atomic::AtomicBool as Flag;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread::spawn;

use crate::reading::check;
use crate::reclaim::{barrier, retire, Collector, Participant, Retire, RetireWhole, WholeNode};
use crate::sync::{AtomicBool, AtomicPtr, Ordering};

/// What a reader must not find freed. The flag is outside the model.
#[repr(C)]
struct Object {
    node: std::mem::MaybeUninit<WholeNode>,
    link: *mut (),
    freed: Flag,
}

// SAFETY: its own word, and only a flag is set.
unsafe impl Retire for Object {
    unsafe fn link(object: *mut Object) -> *mut *mut () {
        // SAFETY: never really freed.
        unsafe { &raw mut (*object).link }
    }

    unsafe fn free(object: *mut Object) {
        // SAFETY: never really freed here, so that a wrong free is seen and not suffered.
        let was_freed = unsafe { (*object).freed.swap(true, Ordering::SeqCst) };
        assert!(!was_freed, "freed twice");
    }
}

// SAFETY: it begins with its node.
unsafe impl RetireWhole for Object {
    unsafe fn free_slice(object: *mut Object, _budget: usize) -> bool {
        // SAFETY: as above.
        unsafe { Object::free(object) };
        true
    }
}

fn object() -> *mut Object {
    Box::into_raw(Box::new(Object {
        node: std::mem::MaybeUninit::uninit(),
        link: std::ptr::null_mut(),
        freed: Flag::new(false),
    }))
}

fn is_freed(object: *mut Object) -> bool {
    // SAFETY: never really freed.
    unsafe { (*object).freed.load(Ordering::SeqCst) }
}

struct Place {
    collector: Collector,
    object: AtomicPtr<Object>,
}

impl Place {
    fn new() -> Arc<Place> {
        Arc::new(Place {
            collector: Collector::new(),
            object: AtomicPtr::new(object()),
        })
    }
}

/// Pins as a call does: the short way first.
fn pin(collector: &Collector, participant: &Participant) {
    if !participant.fast_pin(collector) {
        participant.pin(collector);
    }
}

/// Reads what is there, as long as it is pinned.
fn look_at(place: &Place, participant: &Participant) {
    pin(&place.collector, participant);
    let object = place.object.load(Ordering::Acquire);
    loom::thread::yield_now();
    assert!(!is_freed(object), "freed while a reader had it");
    participant.unpin();
}

fn read(place: &Place) {
    let participant = place.collector.join();
    look_at(place, participant);
    leave(place, participant);
}

fn leave(place: &Place, participant: &Participant) {
    // SAFETY: the calling thread's.
    unsafe { place.collector.leave(participant) };
}

/// Replaces what is there, as a thread that is pinned.
fn replace(place: &Place, participant: &Participant) {
    participant.pin(&place.collector);
    let old = place.object.swap(object(), Ordering::AcqRel);
    // SAFETY: the calling thread's, and taken out just now.
    unsafe { retire(participant, old) };
    participant.unpin();
}

/// Frees what the calling thread took out, or leaves it to the process.
fn free_own(collector: &Collector, participant: &Participant) {
    // SAFETY: the calling thread's, which is not pinned.
    if let Some(mut taken) = unsafe { collector.take_own(participant, &Cell::new(0)) } {
        assert!(taken.free(|| false));
    }
}

fn free_left(collector: &Collector) {
    if let Some(mut taken) = collector.take_left(None) {
        assert!(taken.free(|| false));
        collector.give_back(taken);
    }
}

/// Replaces what is there, and frees the old as soon as it may.
fn replace_and_free(place: &Place, times: usize) {
    let participant = place.collector.join();
    for _ in 0..times {
        replace(place, participant);
        free_own(&place.collector, participant);
        free_left(&place.collector);
    }
    leave(place, participant);
}

#[test]
fn nothing_is_freed_under_a_reader() {
    check(|| {
        let place = Place::new();
        let reader = Arc::clone(&place);
        let reader = spawn(move || {
            let participant = reader.collector.join();
            look_at(&reader, participant);
            look_at(&reader, participant);
        });
        replace_and_free(&place, 2);
        reader.join().unwrap();
        assert!(!is_freed(place.object.load(Ordering::Relaxed)));
    });
}

/// What is found to be over without one is; and it is, where the reader is away or calls again.
#[test]
fn nothing_is_freed_under_a_reader_without_a_barrier() {
    barrier::refuse();
    static FREED: Flag = Flag::new(false);
    check(|| {
        let place = Place::new();
        let old = place.object.load(Ordering::Relaxed);
        let reader = Arc::clone(&place);
        let reader = spawn(move || {
            let participant = reader.collector.join();
            look_at(&reader, participant);
            look_at(&reader, participant);
        });
        replace_and_free(&place, 2);
        if is_freed(old) {
            FREED.store(true, Ordering::SeqCst);
        }
        reader.join().unwrap();
    });
    assert!(FREED.load(Ordering::SeqCst), "nothing was ever freed");
}

/// Who ends is away, and who has its participant next comes back.
#[test]
fn nothing_is_freed_under_who_has_the_participant_of_another() {
    barrier::refuse();
    check(|| {
        let place = Place::new();
        let reader = Arc::clone(&place);
        let reader = spawn(move || {
            read(&reader);
            read(&reader);
        });
        replace_and_free(&place, 1);
        reader.join().unwrap();
        replace_and_free(&place, 1);
        (0..2).for_each(|_| free_left(&place.collector)); // what waited, and what came since
        assert!(place.collector.is_empty(), "nobody is there");
    });
}

#[test]
fn nothing_is_freed_under_a_reader_by_two_who_free() {
    check(|| {
        let place = Place::new();
        let old = place.object.load(Ordering::Relaxed);
        let (reader, other) = (Arc::clone(&place), Arc::clone(&place));
        let reader = spawn(move || read(&reader));
        let other = spawn(move || free_left(&other.collector));
        let participant = place.collector.join();
        replace(&place, participant);
        leave(&place, participant); // to whoever comes first
        free_left(&place.collector);
        reader.join().unwrap();
        other.join().unwrap();
        free_left(&place.collector);
        assert!(is_freed(old), "nothing is left");
    });
}

#[test]
fn nothing_that_was_taken_out_as_a_whole_is_freed_under_a_reader() {
    check(|| {
        let place = Place::new();
        let old = place.object.load(Ordering::Relaxed);
        let reader = Arc::clone(&place);
        let reader = spawn(move || read(&reader));
        place.object.store(object(), Ordering::Release);
        // SAFETY: taken out just now.
        unsafe { place.collector.retire_whole(old, 1 << 20) };
        free_left(&place.collector);
        reader.join().unwrap();
        free_left(&place.collector);
        assert!(is_freed(old), "nothing is left");
        assert!(place.collector.is_empty());
    });
}

#[test]
fn what_nobody_reads_is_freed() {
    check(|| {
        let place = Place::new();
        let old = place.object.load(Ordering::Relaxed);
        replace_and_free(&place, 1);
        assert!(is_freed(old));
        assert!(place.collector.is_empty(), "nothing is left waiting");
    });
}

/// What a reader looks at without atomics: the checker wants it read before it is freed, in an
/// order that others know of.
struct Plain {
    collector: Collector,
    cell: UnsafeCell<()>,
    is_out: AtomicBool,
}

// SAFETY: whether the cell is used by one at a time is what the checker finds out.
unsafe impl Sync for Plain {}
// SAFETY: as above.
unsafe impl Send for Plain {}

/// Stands for the cell.
struct OfPlain {
    link: *mut (),
    place: *const Plain,
}

// SAFETY: its own word; the place outlives the collector.
unsafe impl Retire for OfPlain {
    unsafe fn link(block: *mut OfPlain) -> *mut *mut () {
        // SAFETY: by contract.
        unsafe { &raw mut (*block).link }
    }

    unsafe fn free(block: *mut OfPlain) {
        // SAFETY: boxed, and the place outlives it.
        let block = unsafe { Box::from_raw(block) };
        // SAFETY: as above.
        unsafe { (*block.place).cell.with_mut(|_| ()) };
    }
}

fn look(place: &Plain, participant: &Participant) {
    pin(&place.collector, participant);
    if !place.is_out.load(Ordering::Acquire) {
        place.cell.with(|_| ());
    }
    participant.unpin();
}

/// That it pins anew says as much as that it does not.
#[test]
fn what_is_freed_was_read_before_though_the_reader_is_back() {
    check(|| {
        let place = Arc::new(Plain {
            collector: Collector::new(),
            cell: UnsafeCell::new(()),
            is_out: AtomicBool::new(false),
        });
        let reader = Arc::clone(&place);
        let reader = spawn(move || {
            let participant = reader.collector.join();
            look(&reader, participant);
            look(&reader, participant);
        });
        let participant = place.collector.join();
        place.is_out.store(true, Ordering::Release);
        let block = Box::into_raw(Box::new(OfPlain {
            link: std::ptr::null_mut(),
            place: Arc::as_ptr(&place),
        }));
        // SAFETY: the calling thread's, and taken out just now.
        unsafe { retire(participant, block) };
        free_own(&place.collector, participant);
        free_left(&place.collector);
        free_left(&place.collector);
        reader.join().unwrap();
        free_left(&place.collector);
    });
}
