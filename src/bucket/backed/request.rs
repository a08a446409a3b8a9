//! Changes that wait for a bucket's store, and what comes of them.

use std::sync::{Arc, Condvar, Mutex};

use crate::error::Error;
use crate::memory;
use crate::server::Reservation;
use crate::store::{Key, Op, Refused, Ttl, What};
use crate::sync::lock;
use crate::value::{Value, ValueRef};

/// All of them, or what refuses: there may be many.
pub(in crate::bucket) fn collected<T>(
    items: impl ExactSizeIterator<Item = Result<T, Error>>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    memory::reserve(&mut all, items.len())?;
    for item in items {
        all.push(item?);
    }
    Ok(all)
}

/// A change of its own: it outlives the call that asks for it.
pub(in crate::bucket) struct OwnOp {
    key: Box<[u8]>,
    what: OwnWhat,
    expected: Option<u64>,
    ttl: Ttl,
}

enum OwnWhat {
    Put(Value),
    Delete,
    Add(i64),
}

impl OwnOp {
    pub(in crate::bucket) fn of(op: &Op<'_>) -> Result<OwnOp, Error> {
        Ok(OwnOp {
            key: super::super::copy_key(&op.key)?,
            what: match op.what {
                What::Put(value) => OwnWhat::Put(Value::new(value)?),
                What::Delete => OwnWhat::Delete,
                What::Add(delta) => OwnWhat::Add(delta),
            },
            expected: op.expected,
            ttl: op.ttl,
        })
    }

    /// With the bucket's time to live.
    pub(in crate::bucket) fn put(key: Key<'_>, value: ValueRef<'_>) -> Result<OwnOp, Error> {
        OwnOp::of(&Op {
            key,
            what: What::Put(value),
            expected: None,
            ttl: Ttl::Default,
        })
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(in crate::bucket) fn op(&self) -> Op<'_> {
        Op {
            key: Key::new(&self.key),
            what: match &self.what {
                OwnWhat::Put(value) => What::Put(value.as_ref()),
                OwnWhat::Delete => What::Delete,
                OwnWhat::Add(delta) => What::Add(*delta),
            },
            expected: self.expected,
            ttl: self.ttl,
        }
    }

    /// Whether it is refused by nothing that its key has.
    fn is_free(&self) -> bool {
        matches!(self.what, OwnWhat::Put(_)) && self.expected.is_none()
    }

    fn size(&self) -> usize {
        let value = match &self.what {
            OwnWhat::Put(value) => value.as_ref().size(),
            _ => 0,
        };
        self.key.len() + value
    }
}

/// What somebody wants of a bucket.
pub(in crate::bucket) enum Change {
    /// All or none.
    Ops(Vec<OwnOp>),
    /// A key goes, and its value is the answer.
    Take {
        key: Box<[u8]>,
        expected: Option<u64>,
    },
    /// `None` is no value.
    PutIfEqual {
        key: Box<[u8]>,
        expected: Option<Value>,
        value: Option<Value>,
    },
    Expire {
        key: Box<[u8]>,
        ttl: Ttl,
    },
    /// Into a bucket without keys.
    Fill(Vec<OwnOp>),
    Clear,
}

impl Change {
    pub(in crate::bucket) fn one(op: &Op<'_>) -> Result<Change, Error> {
        Ok(Change::Ops(vec![OwnOp::of(op)?]))
    }

    pub(in crate::bucket) fn put(
        key: Key<'_>,
        value: ValueRef<'_>,
        expected: Option<u64>,
        ttl: Ttl,
    ) -> Result<Change, Error> {
        let what = What::Put(value);
        Change::one(&Op {
            key,
            what,
            expected,
            ttl,
        })
    }

    pub(in crate::bucket) fn delete(key: Key<'_>, expected: Option<u64>) -> Result<Change, Error> {
        let what = What::Delete;
        Change::one(&Op {
            key,
            what,
            expected,
            ttl: Ttl::Default,
        })
    }

    pub(in crate::bucket) fn add(key: Key<'_>, delta: i64) -> Result<Change, Error> {
        let what = What::Add(delta);
        Change::one(&Op {
            key,
            what,
            expected: None,
            ttl: Ttl::Default,
        })
    }

    pub(in crate::bucket) fn put_if_equal(
        key: &[u8],
        expected: Option<ValueRef<'_>>,
        value: Option<ValueRef<'_>>,
    ) -> Result<Change, Error> {
        Ok(Change::PutIfEqual {
            key: super::super::copy_key(key)?,
            expected: expected.map(Value::new).transpose()?,
            value: value.map(Value::new).transpose()?,
        })
    }

    /// How many changes it is made of.
    pub(in crate::bucket) fn count(&self) -> usize {
        match self {
            Change::Ops(ops) | Change::Fill(ops) => ops.len(),
            _ => 1,
        }
    }

    /// What a cast stores, or takes out.
    pub(super) fn as_cast(&self) -> Option<(&[u8], Option<ValueRef<'_>>)> {
        let Change::Ops(ops) = self else {
            return None;
        };
        match &ops[..] {
            [OwnOp {
                key,
                what,
                expected: None,
                ttl: Ttl::Default,
            }] => match what {
                OwnWhat::Put(value) => Some((key, Some(value.as_ref()))),
                OwnWhat::Delete => Some((key, None)),
                OwnWhat::Add(_) => None,
            },
            _ => None,
        }
    }

    /// Whether it is stored by itself.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Change::Fill(_) | Change::Clear)
    }

    /// Whether it looks at nothing that an earlier change may make.
    pub(super) fn is_free(&self) -> bool {
        matches!(self, Change::Ops(ops) if ops.iter().all(OwnOp::is_free))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let (ops, one): (&[OwnOp], Option<&[u8]>) = match self {
            Change::Ops(ops) | Change::Fill(ops) => (ops, None),
            Change::Take { key, .. }
            | Change::PutIfEqual { key, .. }
            | Change::Expire { key, .. } => (&[], Some(key)),
            Change::Clear => (&[], None),
        };
        ops.iter().map(OwnOp::key).chain(one)
    }

    /// So many bytes, about.
    pub(super) fn size(&self) -> usize {
        match self {
            Change::Ops(ops) | Change::Fill(ops) => ops.iter().map(OwnOp::size).sum(),
            Change::PutIfEqual { value, .. } => value.as_ref().map_or(0, |it| it.as_ref().size()),
            _ => 0,
        }
    }
}

/// What a change came to.
#[derive(Default)]
pub(in crate::bucket) struct Done {
    /// The revision of the first of its changes; 0 if there was none.
    pub(in crate::bucket) revision: u64,
    /// Of one that adds.
    pub(in crate::bucket) sum: Option<i64>,
    /// What a key had that was taken.
    pub(in crate::bucket) old: Option<Value>,
}

pub(super) type Outcome = Result<Done, Refused>;

/// A change that waits, and who waits for it.
pub(super) struct Request {
    pub(super) change: Change,
    /// Nobody waits.
    pub(super) is_cast: bool,
    /// What it is counted for while it waits.
    reserved: Mutex<Vec<Reservation>>,
    outcome: Mutex<Option<Outcome>>,
    is_there: Condvar,
}

impl Request {
    pub(super) fn new(change: Change, is_cast: bool, reserved: Vec<Reservation>) -> Arc<Request> {
        Arc::new(Request {
            change,
            is_cast,
            reserved: Mutex::new(reserved),
            outcome: Mutex::new(None),
            is_there: Condvar::new(),
        })
    }

    /// It waits no longer, and is about to be looked at.
    pub(super) fn give_back(&self) {
        drop(std::mem::take(&mut *lock(&self.reserved)));
    }

    pub(super) fn answer(&self, outcome: Outcome) {
        *lock(&self.outcome) = Some(outcome);
        self.is_there.notify_all();
    }

    /// Waits for the outcome, for as long as the disk takes: whoever has it is about to tell.
    pub(super) fn outcome(&self) -> Outcome {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = outcome.take() {
                return outcome;
            }
            let waited = self.is_there.wait(outcome);
            outcome = waited.unwrap_or_else(|it| it.into_inner());
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        lock(&self.outcome).is_some()
    }
}
