//! Several changes in one step, as Rust programs have them.

use std::fmt;

use super::{Bucket, Ttl};
use crate::bucket::{check_key, copy_key};
use crate::error::Error;
use crate::memory;
use crate::store::{self, Key, Op, Refused, What};
use crate::value::{AsValue, Value};

/// Several changes that are made in one step by [`Bucket::apply`]: all of them or none.
///
/// Each sees what an earlier one made of its key. What cannot be taken note of, a key that is too
/// long for one, is told by `apply`.
///
/// ```
/// use kvreg::{Batch, Bucket, Error};
///
/// let shop = Bucket::start()?;
/// shop.put("eggs", 12)?;
/// let eggs = shop.entry::<i64>("eggs")?;
/// let mut sale = Batch::new();
/// sale.put_if("eggs", eggs.value - 6, eggs.revision).add_int("sold", 6).put("last", "eggs");
/// shop.apply(&sale)?;
///
/// let again = shop.apply(&sale).unwrap_err();
/// assert_eq!((again.at, again.error), (Some(0), Error::Conflict));
/// assert_eq!(shop.get::<i64>("sold")?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    /// There was no memory for one.
    is_cut: bool,
}

#[derive(Clone, Debug)]
struct Change {
    key: Result<Box<[u8]>, Error>,
    what: Owned,
    expected: Option<u64>,
    ttl: Result<store::Ttl, Error>,
}

#[derive(Clone, Debug)]
enum Owned {
    Put(Result<Value, Error>),
    Delete,
    Add(i64),
}

/// Why a batch changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotApplied {
    /// Which change was the first that refused, counted from 0; `None` if none is to blame.
    pub at: Option<usize>,
    /// Why.
    pub error: Error,
}

impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "change {at}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for NotApplied {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Error> for NotApplied {
    fn from(error: Error) -> NotApplied {
        NotApplied { at: None, error }
    }
}

impl From<Refused> for NotApplied {
    fn from(Refused { at, error }: Refused) -> NotApplied {
        NotApplied { at, error }
    }
}

impl Batch {
    /// One without changes.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    fn change(&mut self, key: &[u8], what: Owned, expected: Option<u64>) -> &mut Batch {
        self.living_change(key, what, expected, Ttl::Default)
    }

    fn living_change(
        &mut self,
        key: &[u8],
        what: Owned,
        expected: Option<u64>,
        ttl: Ttl,
    ) -> &mut Batch {
        let key = check_key(key).and_then(copy_key);
        let room = memory::without_reserve(|| self.changes.try_reserve(1));
        match room {
            Ok(()) => self.changes.push(Change {
                key,
                what,
                expected,
                ttl: ttl.given(),
            }),
            Err(_) => self.is_cut = true,
        }
        self
    }

    /// Stores a value.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsValue) -> &mut Batch {
        let value = Owned::Put(Value::new(value.as_value()));
        self.change(key.as_ref(), value, None)
    }

    /// Stores a value if the revision of the key is the expected one; 0: if the key is absent.
    /// Else the batch is refused: [`Error::Conflict`].
    pub fn put_if(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
    ) -> &mut Batch {
        let value = Owned::Put(Value::new(value.as_value()));
        self.change(key.as_ref(), value, Some(expected))
    }

    /// As [`put`](Batch::put), with a time to live.
    pub fn put_for(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        ttl: impl Into<Ttl>,
    ) -> &mut Batch {
        let value = Owned::Put(Value::new(value.as_value()));
        self.living_change(key.as_ref(), value, None, ttl.into())
    }

    /// As [`put_if`](Batch::put_if), with a time to live.
    pub fn put_if_for(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsValue,
        expected: u64,
        ttl: impl Into<Ttl>,
    ) -> &mut Batch {
        let value = Owned::Put(Value::new(value.as_value()));
        self.living_change(key.as_ref(), value, Some(expected), ttl.into())
    }

    /// Takes a key out. If it is absent the batch is refused: [`Error::NotFound`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.change(key.as_ref(), Owned::Delete, None)
    }

    /// Takes a key out if its revision is the expected one. Else the batch is refused:
    /// [`Error::Conflict`], or [`Error::NotFound`].
    pub fn delete_if(&mut self, key: impl AsRef<[u8]>, expected: u64) -> &mut Batch {
        self.change(key.as_ref(), Owned::Delete, Some(expected))
    }

    /// Adds to an integer; a key that is absent counts as 0. If it is no integer, or the sum has no
    /// room, the batch is refused: [`Error::WrongType`], [`Error::Limit`].
    pub fn add_int(&mut self, key: impl AsRef<[u8]>, delta: i64) -> &mut Batch {
        self.change(key.as_ref(), Owned::Add(delta), None)
    }

    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// As the bucket takes them.
    pub(super) fn ops(&self) -> Result<Vec<Op<'_>>, NotApplied> {
        let mut ops = Vec::new();
        memory::reserve(&mut ops, self.changes.len())?;
        for (at, change) in self.changes.iter().enumerate() {
            let refused = |error: &Error| NotApplied {
                at: Some(at),
                error: error.clone(),
            };
            let key = change.key.as_deref().map_err(refused)?;
            let what = match &change.what {
                Owned::Put(value) => What::Put(value.as_ref().map_err(refused)?.as_ref()),
                Owned::Delete => What::Delete,
                Owned::Add(delta) => What::Add(*delta),
            };
            ops.push(Op {
                key: Key::new(key),
                what,
                expected: change.expected,
                ttl: *change.ttl.as_ref().map_err(refused)?,
            });
        }
        match self.is_cut {
            true => Err(Error::NoMemory.into()),
            false => Ok(ops),
        }
    }
}

/// The revisions of a batch's changes.
pub(super) fn revisions(first: u64, len: usize) -> Result<Vec<u64>, NotApplied> {
    let mut all = Vec::new();
    memory::reserve(&mut all, len)?;
    all.extend((first..).take(len));
    Ok(all)
}

impl Bucket {
    /// Makes all changes of a batch in one step, or none. Answers the revision of each.
    ///
    /// Readers see what was before, or what all of them have made of it. A limit is asked for all of
    /// them together.
    pub fn apply(&self, batch: &Batch) -> Result<Vec<u64>, NotApplied> {
        let ops = batch.ops()?;
        let applied = self.change(b"", |server, caller, _| {
            match server.apply(caller, &ops) {
                // What is due to none of them is told as of any call.
                Err(Refused { at: None, error }) => Err(error),
                applied => Ok(applied),
            }
        })?;
        revisions(applied?, ops.len())
    }
}
