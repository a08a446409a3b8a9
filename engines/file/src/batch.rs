//! Changes of one bucket that are stored as one, in bytes of their own: those of an interval wait
//! until they are stored, after the call that brought them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crate::abi;
use crate::failure::Failure;
use crate::record::Record;

/// redb takes no more in a value.
const MOST: usize = 3 << 30;

/// A bucket as one store has it, from its opening to its closing.
pub(crate) struct Lane {
    pub(crate) bucket: String,
    is_lost: AtomicBool,
}

impl Lane {
    pub(crate) fn new(bucket: String) -> Lane {
        Lane {
            bucket,
            is_lost: AtomicBool::new(false),
        }
    }

    /// Changes that were answered are not stored, or nobody knows: nothing may be stored after
    /// them.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change<'a> {
    Put { key: &'a [u8], record: &'a [u8] },
    Delete { key: &'a [u8] },
    Clear,
}

/// A change, as its bytes are in a batch: the key, then the record.
enum Kept {
    Put { key: usize, record: usize },
    Delete { key: usize },
    Clear,
}

pub(crate) struct Batch {
    pub(crate) lane: Arc<Lane>,
    changes: Vec<Kept>,
    bytes: Vec<u8>,
    revision: u64,
}

impl Batch {
    /// With room for so many changes.
    pub(crate) fn new(lane: Arc<Lane>, count: usize) -> Result<Batch, Failure> {
        let mut changes = Vec::new();
        changes.try_reserve_exact(count)?;
        Ok(Batch {
            lane,
            changes,
            bytes: Vec::new(),
            revision: 0,
        })
    }

    pub(crate) fn put(&mut self, key: &[u8], record: &Record<'_>) -> Result<(), Failure> {
        if record.len() > MOST {
            let text = "a value has at most three gigabytes in a file";
            return Err(Failure::new(abi::LIMIT, text));
        }
        self.bytes.try_reserve(key.len() + record.len())?;
        self.bytes.extend_from_slice(key);
        record.put(&mut self.bytes);
        self.add(
            Kept::Put {
                key: key.len(),
                record: record.len(),
            },
            record.revision,
        )
    }

    pub(crate) fn delete(&mut self, key: &[u8], revision: u64) -> Result<(), Failure> {
        self.bytes.try_reserve(key.len())?;
        self.bytes.extend_from_slice(key);
        self.add(Kept::Delete { key: key.len() }, revision)
    }

    pub(crate) fn clear(&mut self, revision: u64) -> Result<(), Failure> {
        self.add(Kept::Clear, revision)
    }

    fn add(&mut self, kept: Kept, revision: u64) -> Result<(), Failure> {
        self.changes.try_reserve(1)?;
        self.changes.push(kept);
        self.revision = self.revision.max(revision);
        Ok(())
    }

    /// The largest of its changes.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// About how much memory it takes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Batch>() + self.changes.len() * size_of::<Kept>() + self.bytes.len()
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let mut rest = &self.bytes[..];
        let mut take = move |len| {
            let (taken, left) = rest.split_at(len);
            rest = left;
            taken
        };
        self.changes.iter().map(move |kept| match *kept {
            Kept::Put { key, record } => Change::Put {
                key: take(key),
                record: take(record),
            },
            Kept::Delete { key } => Change::Delete { key: take(key) },
            Kept::Clear => Change::Clear,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Value;

    #[test]
    fn changes_are_told_as_they_came() {
        let mut batch = Batch::new(Arc::new(Lane::new("b".into())), 4).unwrap();
        let record = Record {
            value: Value::Bytes(b"value"),
            revision: 9,
            expires_ms: -1,
        };
        batch.delete(b"gone", 7).unwrap();
        batch.put(b"", &record).unwrap();
        batch.clear(10).unwrap();
        batch.put(b"key", &record).unwrap();
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        let record = &bytes[..];
        let expected = [
            Change::Delete { key: b"gone" },
            Change::Put { key: b"", record },
            Change::Clear,
            Change::Put {
                key: b"key",
                record,
            },
        ];
        assert!(batch.changes().eq(expected));
        assert_eq!(batch.revision(), 10);
    }
}
