//! What is asked one key at a time, and keeps the place of a value of the same length.

use foldhash::fast::RandomState;

use super::maps::{Bytes, Dash, Papaya};

/// Something that holds values which are read, overwritten and changed where they are.
pub trait Store: Send + Sync {
    /// Copies the value into the buffer.
    fn read(&self, key: &[u8], buffer: &mut [u8]);

    fn write(&self, key: &[u8], value: &[u8]);

    /// Adds one to the first byte of the value; the buffer is for those who need one.
    fn modify(&self, key: &[u8], buffer: &mut [u8]);
}

const THERE: &str = "it was put";

fn add_one(value: &mut [u8]) {
    value[0] = value[0].wrapping_add(1);
}

/// Whether the new value took the place of the old one.
fn overwrite(old: &mut [u8], value: &[u8]) -> bool {
    let fits = old.len() == value.len();
    if fits {
        old.copy_from_slice(value);
    }
    fits
}

impl Store for Dash {
    fn read(&self, key: &[u8], buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0.get(key).expect(THERE));
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        let old = self.0.get_mut(key);
        if !old.is_some_and(|mut old| overwrite(&mut old, value)) {
            self.0.insert(key.into(), value.into());
        }
    }

    fn modify(&self, key: &[u8], _: &mut [u8]) {
        add_one(&mut self.0.get_mut(key).expect(THERE));
    }
}

/// Its values do not change: each write makes a new one.
impl Store for Papaya {
    fn read(&self, key: &[u8], buffer: &mut [u8]) {
        buffer.copy_from_slice(self.0.pin().get(key).expect(THERE));
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        self.0.pin().insert(key.into(), value.into());
    }

    fn modify(&self, key: &[u8], _: &mut [u8]) {
        let next = |old: &Bytes| {
            let mut next = old.clone();
            add_one(&mut next);
            next
        };
        self.0.pin().update(key.into(), next).expect(THERE);
    }
}

#[derive(Default)]
pub struct Scc(scc::HashMap<Bytes, Bytes, RandomState>);

impl Store for Scc {
    fn read(&self, key: &[u8], buffer: &mut [u8]) {
        let copy = |_: &Bytes, value: &Bytes| buffer.copy_from_slice(value);
        self.0.read_sync(key, copy).expect(THERE);
    }

    fn write(&self, key: &[u8], value: &[u8]) {
        let fits = self.0.update_sync(key, |_, old| overwrite(old, value));
        if fits != Some(true) {
            self.0.upsert_sync(key.into(), value.into());
        }
    }

    fn modify(&self, key: &[u8], _: &mut [u8]) {
        let done = self.0.update_sync(key, |_, value| add_one(value));
        done.expect(THERE);
    }
}
