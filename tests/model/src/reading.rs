//! Reading what others replace: the epoch, and values that are changed in their place.

use std::sync::atomic::AtomicBool as Flag;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread::spawn;

use crate::reclaim::{Collector, Deferred, Participant};
use crate::store::Stored;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::value::ValueRef;

pub(crate) fn check(scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(crate::scenarios::deeper(3));
    model.max_branches = 20_000;
    model.check(scenario);
}

/// What a reader must not find freed. The flag is outside the model.
struct Object {
    freed: Flag,
}

fn object() -> *mut Object {
    let freed = Flag::new(false);
    Box::into_raw(Box::new(Object { freed }))
}

struct Place {
    collector: Collector,
    object: AtomicPtr<Object>,
}

/// Reads what is there, as long as it is pinned.
fn read(place: &Place) {
    let participant = place.collector.join();
    participant.pin(&place.collector);
    let object = place.object.load(Ordering::Acquire);
    loom::thread::yield_now();
    // SAFETY: never really freed here, so that a wrong free is seen and not suffered.
    let freed = unsafe { (*object).freed.load(Ordering::SeqCst) };
    assert!(!freed, "freed while a reader had it");
    participant.unpin();
    Collector::leave(participant);
}

/// Replaces what is there, and frees the old as soon as it may.
fn replace(place: &Place) {
    let old = place.object.swap(object(), Ordering::AcqRel);
    let address = old as usize;
    // SAFETY: a flag is set.
    let free = unsafe {
        Deferred::new(move || {
            (*(address as *mut Object))
                .freed
                .store(true, Ordering::SeqCst)
        })
    };
    place.collector.seal(vec![free]);
    for _ in 0..2 {
        place.collector.advance();
        place.collector.free();
    }
}

#[test]
fn nothing_is_freed_under_a_reader() {
    check(|| {
        let place = Arc::new(Place {
            collector: Collector::new(),
            object: AtomicPtr::new(object()),
        });
        let reader = Arc::clone(&place);
        let reader = spawn(move || read(&reader));
        replace(&place);
        reader.join().unwrap();
        replace(&place);
    });
}

#[test]
fn nothing_is_freed_under_a_reader_by_two_collectors() {
    check(|| {
        let place = Arc::new(Place {
            collector: Collector::new(),
            object: AtomicPtr::new(object()),
        });
        let (reader, other) = (Arc::clone(&place), Arc::clone(&place));
        let reader = spawn(move || read(&reader));
        let other = spawn(move || {
            other.collector.advance();
            other.collector.free();
        });
        replace(&place);
        reader.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn what_nobody_reads_is_freed() {
    check(|| {
        let place = Place {
            collector: Collector::new(),
            object: AtomicPtr::new(object()),
        };
        let old = place.object.load(Ordering::Relaxed);
        replace(&place);
        // SAFETY: see `read`.
        assert!(unsafe { (*old).freed.load(Ordering::SeqCst) });
        assert!(place.collector.free(), "nothing is left waiting");
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

fn look(place: &Plain, participant: &Participant) {
    participant.pin(&place.collector);
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
        place.is_out.store(true, Ordering::Release);
        let address = Arc::as_ptr(&place).expose_provenance();
        // SAFETY: the place outlives the collector.
        let free = unsafe {
            Deferred::new(move || {
                let place: *const Plain = std::ptr::with_exposed_provenance(address);
                (*place).cell.with_mut(|_| ());
            })
        };
        place.collector.seal(vec![free]);
        for _ in 0..3 {
            place.collector.advance();
            place.collector.free();
        }
        reader.join().unwrap();
    });
}

fn copy(stored: &Stored, tail: &[AtomicU64]) -> Vec<u8> {
    loop {
        let Ok(look) = stored.look(tail) else {
            continue;
        };
        let mut text = vec![0; look.len()];
        // SAFETY: so many bytes.
        unsafe { look.copy_to(text.as_mut_ptr()) };
        if look.holds() {
            return text;
        }
        loom::thread::yield_now();
    }
}

#[test]
fn a_copy_belongs_together() {
    check(|| {
        let tail: Arc<[AtomicU64]> = [0, 0].map(AtomicU64::new).into();
        let (stored, _) = Stored::small(ValueRef::Nil, 1).unwrap();
        let stored = Arc::new(stored);
        stored.overwrite(&tail, ValueRef::Bytes(b"aaaaaaaaaaa"), 2);
        let (place, words) = (Arc::clone(&stored), Arc::clone(&tail));
        let writer = spawn(move || {
            place.overwrite(&words, ValueRef::Bytes(b"bbbbbbbbb"), 3);
        });
        let seen = copy(&stored, &tail);
        assert!(seen == b"aaaaaaaaaaa" || seen == b"bbbbbbbbb", "{seen:?}");
        writer.join().unwrap();
        assert_eq!(copy(&stored, &tail), b"bbbbbbbbb");
    });
}
