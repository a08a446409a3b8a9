//! Reading what others change in its place.

use std::sync::Arc;

use loom::thread::spawn;

use crate::store::{Small, Stored};
use crate::sync::AtomicU64;
use crate::value::ValueRef;

pub(crate) fn check(scenario: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(crate::openings::deeper(3));
    model.max_branches = 20_000;
    model.check(scenario);
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
        let bytes = |text| Small::of(ValueRef::Bytes(text)).unwrap();
        let stored = Stored::small(&bytes(b""), 1);
        let stored = Arc::new(stored);
        stored.overwrite(&tail, &bytes(b"aaaaaaaaaaa"), 2);
        let (place, words) = (Arc::clone(&stored), Arc::clone(&tail));
        let reader = spawn(move || {
            let seen = copy(&place, &words);
            assert!(seen == b"aaaaaaaaaaa" || seen == b"bbbbbbbbb", "{seen:?}");
        });
        stored.overwrite(&tail, &bytes(b"bbbbbbbbb"), 3);
        reader.join().unwrap();
        assert_eq!(copy(&stored, &tail), b"bbbbbbbbb");
    });
}
