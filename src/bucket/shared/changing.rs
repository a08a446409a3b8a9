//! How a shared bucket is changed: what a change needs to know of its keys is read, and the change is
//! made on the condition that it is so yet; where it is not, again, until the deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::backed::{collected, wall_clock, Change, Done, OwnOp};
use super::super::{BucketServer, Decision};
use super::reading::Seen;
use super::{InStore, Shared};
use crate::error::Error;
use crate::memory;
use crate::server::Caller;
use crate::store::{Key, Op, Refused, SharedChange, Ttl, What};
use crate::sync::lock;
use crate::time::Deadline;
use crate::value::{Value, ValueRef};

/// How long who was overtaken waits before it tries again, at first and at last.
const SHORTEST_PAUSE: Duration = Duration::from_micros(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

type Outcome = Result<Done, Refused>;

/// What is known of a key between the changes of one step.
struct Now {
    /// That of the store; `None`: it was not looked at.
    seen: Option<Seen>,
    /// What an earlier change of the step made of it.
    made: Option<Made>,
}

struct Made {
    /// `None`: it goes.
    number: Option<Option<i64>>,
    expires: Option<i64>,
}

/// A change that is ready.
struct Ready {
    at: usize,
    /// Of one that adds.
    sum: Option<i64>,
    expected: Option<u64>,
    expires: Option<i64>,
}

impl Shared {
    fn expires(&self, ttl: Ttl, default_ms: u64, now: i64, old: Option<i64>) -> Option<i64> {
        let after = |ms: u64| Some(now.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
        match ttl {
            Ttl::Never => None,
            Ttl::Millis(ms) => after(ms),
            Ttl::Keep(_) if old.is_some() => old,
            Ttl::Default | Ttl::Keep(_) => match default_ms {
                0 => None,
                ms => after(ms),
            },
        }
    }
}

/// A change of one key, made until it holds.
struct Changing<'c> {
    shared: &'c Shared,
    store: InStore<'c>,
    deadline: Deadline,
    /// Of keys that are given none; 0: none.
    default_ttl: u64,
}

impl Changing<'_> {
    /// Tries until nobody was faster.
    fn again<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Option<T>, Refused>,
    ) -> Result<T, Refused> {
        let mut pause = Duration::ZERO;
        loop {
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            let left = self.deadline.left().unwrap_or(LONGEST_PAUSE);
            if left.is_zero() {
                return Err(Error::Timeout.into());
            }
            // Others are at it too: they are to come to their end.
            std::thread::sleep(pause.min(left));
            pause = (2 * pause).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        }
    }

    /// `None`: the key is another by now.
    fn write_if(
        &self,
        key: &[u8],
        value: Option<ValueRef<'_>>,
        expires: Option<i64>,
        expected: u64,
    ) -> Result<Option<u64>, Error> {
        let change = SharedChange {
            key,
            value,
            expected: Some(expected),
            expires,
        };
        match self.store.write(&[change], &self.deadline) {
            Err(Error::Conflict) => Ok(None),
            written => written.map(Some),
        }
    }

    fn seen(&self, key: &[u8]) -> Result<Seen, Error> {
        self.shared.seen(key, &self.deadline)
    }

    #[cold]
    fn take(&self, key: &[u8], expected: Option<u64>) -> Outcome {
        self.again(|| {
            let entry = self.seen(key)?.entry.ok_or(Error::NotFound)?;
            if expected.is_some_and(|expected| expected != entry.revision) {
                return Err(Error::Conflict.into());
            }
            let revision = self.write_if(key, None, None, entry.revision)?;
            Ok(revision.map(|revision| Done {
                revision,
                old: Some(entry.value),
                ..Done::default()
            }))
        })
    }

    #[cold]
    fn put_if_equal(&self, key: &[u8], expected: Option<&Value>, value: Option<&Value>) -> Outcome {
        self.again(|| {
            let Seen { entry, revision } = self.seen(key)?;
            let is_equal = match (&entry, expected) {
                (Some(entry), Some(expected)) => {
                    entry.value.as_ref().is_identical(expected.as_ref())
                }
                (entry, expected) => entry.is_none() && expected.is_none(),
            };
            if !is_equal {
                return Err(Error::Conflict.into());
            }
            if entry.is_none() && value.is_none() {
                return Ok(Some(Done::default()));
            }
            let (seen, old) = (revision, entry.and_then(|entry| entry.expires));
            let keep = Ttl::Keep(None);
            let expires = self
                .shared
                .expires(keep, self.default_ttl, wall_clock(), old);
            let expires = expires.filter(|_| value.is_some());
            let revision = self.write_if(key, value.map(Value::as_ref), expires, seen)?;
            Ok(revision.map(Done::of))
        })
    }

    #[cold]
    fn expire(&self, key: &[u8], ttl: Ttl) -> Outcome {
        self.again(|| {
            let entry = self.seen(key)?.entry.ok_or(Error::NotFound)?;
            let now = wall_clock();
            let expires = self
                .shared
                .expires(ttl, self.default_ttl, now, entry.expires);
            let value = Some(entry.value.as_ref());
            let revision = self.write_if(key, value, expires, entry.revision)?;
            Ok(revision.map(Done::of))
        })
    }

    /// All or none.
    #[cold]
    fn ops(&self, ops: &[Op<'_>]) -> Outcome {
        if ops.is_empty() {
            return Ok(Done::default());
        }
        if ops.len() > 1 && !self.store.can().batches {
            return Err(Error::Unsupported("several changes at once in this store").into());
        }
        self.again(|| {
            let (ready, looked) = self.ready(ops)?;
            let changes = ready.iter().map(|ready| {
                let op = &ops[ready.at];
                let value = match op.what {
                    What::Put(value) => Some(value),
                    What::Delete => None,
                    What::Add(_) => ready.sum.map(ValueRef::Int),
                };
                Ok(SharedChange {
                    key: &op.key,
                    value,
                    expected: ready.expected,
                    expires: ready.expires,
                })
            });
            let changes = collected(changes)?;
            match self.store.write(&changes, &self.deadline) {
                Ok(revision) => Ok(Some(Done {
                    revision,
                    sum: ready.first().and_then(|ready| ready.sum),
                    old: None,
                })),
                // What was read is another by now, or what the caller expects does not hold: which,
                // is seen if all is looked at.
                Err(Error::Conflict) if looked || ops.len() > 1 => {
                    self.check_expected(ops)?;
                    Ok(None)
                }
                Err(Error::Conflict) => Err(Refused {
                    at: Some(0),
                    error: Error::Conflict,
                }),
                Err(refused) => Err(refused.into()),
            }
        })
    }

    /// The first change whose caller expects what is not so.
    #[cold]
    fn check_expected(&self, ops: &[Op<'_>]) -> Result<(), Refused> {
        for (at, op) in ops.iter().enumerate() {
            let Some(expected) = op.expected else {
                continue;
            };
            if self.seen(&op.key)?.revision != expected {
                return Err(Refused {
                    at: Some(at),
                    error: Error::Conflict,
                });
            }
        }
        Ok(())
    }

    /// What is to be written, and whether a key was looked at for it.
    #[cold]
    fn ready(&self, ops: &[Op<'_>]) -> Result<(Vec<Ready>, bool), Refused> {
        let mut known: HashMap<&[u8], Now> = HashMap::new();
        let mut ready = Vec::new();
        memory::reserve(&mut ready, ops.len())?;
        let (now, mut looked) = (wall_clock(), false);
        for (at, op) in ops.iter().enumerate() {
            let refused = |error| Refused {
                at: Some(at),
                error,
            };
            let key: &[u8] = &op.key;
            memory::without_reserve(|| known.try_reserve(1)).map_err(|_| Error::NoMemory)?;
            let is_first = !known.contains_key(key);
            let place = known.entry(key).or_insert(Now {
                seen: None,
                made: None,
            });
            let looks =
                matches!(op.what, What::Delete | What::Add(_)) || matches!(op.ttl, Ttl::Keep(_));
            if is_first && looks {
                place.seen = Some(self.seen(key)?);
                looked = true;
            }
            ready.push(self.step(op, at, place, now).map_err(refused)?);
        }
        Ok((ready, looked))
    }

    /// What one change comes to, after those before it.
    #[cold]
    fn step(&self, op: &Op<'_>, at: usize, place: &mut Now, now: i64) -> Result<Ready, Error> {
        let is_first = place.made.is_none();
        if !is_first && op.expected.is_some() {
            return Err(Error::Conflict); // that of an earlier change of these, which nobody can know
        }
        let there = place.there();
        if matches!(op.what, What::Delete) && there.is_none() {
            return Err(Error::NotFound);
        }
        let seen = place.seen.as_ref().filter(|_| is_first);
        let seen = seen.map(|seen| seen.revision);
        if let (Some(seen), Some(expected)) = (seen, op.expected) {
            if seen != expected {
                return Err(Error::Conflict);
            }
        }
        let old = there.and_then(|there| there.expires);
        let (number, ttl) = match op.what {
            What::Delete => (None, Ttl::Never),
            What::Put(ValueRef::Int(number)) => (Some(Some(number)), op.ttl),
            What::Put(_) => (Some(None), op.ttl),
            What::Add(delta) => {
                let number = there.map_or(Some(0), |there| there.number);
                let sum = number.ok_or(Error::WrongType)?.checked_add(delta);
                (
                    Some(Some(sum.ok_or(Error::Limit("a sum of 64 bits"))?)),
                    Ttl::Keep(None),
                )
            }
        };
        let expires = self.shared.expires(ttl, self.default_ttl, now, old);
        place.made = Some(Made { number, expires });
        Ok(Ready {
            at,
            sum: match op.what {
                What::Add(_) => number.flatten(),
                _ => None,
            },
            expected: op.expected.or(seen),
            expires,
        })
    }
}

/// What a key has.
#[derive(Clone, Copy)]
struct There {
    number: Option<i64>,
    expires: Option<i64>,
}

impl Now {
    /// `None`: absent. Of a key that was not looked at it is not asked.
    fn there(&self) -> Option<There> {
        if let Some(made) = &self.made {
            return made.number.map(|number| There {
                number,
                expires: made.expires,
            });
        }
        let entry = self.seen.as_ref()?.entry.as_ref()?;
        Some(There {
            number: match entry.value {
                Value::Int(number) => Some(number),
                _ => None,
            },
            expires: entry.expires,
        })
    }
}

/// The revision of the last of its changes.
fn last_of(change: &Change, done: &Done) -> u64 {
    done.revision + change.count().saturating_sub(1) as u64
}

impl Done {
    fn of(revision: u64) -> Done {
        Done {
            revision,
            ..Done::default()
        }
    }
}

/// Each as `BucketState` of the module's server.
impl BucketServer {
    /// Makes a change as a call. Blocks for the store.
    #[cold]
    pub(in crate::bucket) fn change_shared(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        shared: &Shared,
        change: &Change,
    ) -> Outcome {
        if self.is_occupied_by_caller() {
            return Err(Error::CallingSelf.into());
        }
        let deadline = self.begin_shared(caller)?;
        let done = self.make_change(shared, change, deadline)?;
        self.await_copy_of(shared, last_of(change, &done), &deadline);
        Ok(done)
    }

    /// A change that was made with the turn, once it is in the copy or that does not come.
    #[cold]
    pub(in crate::bucket) fn seen_in_copy(
        self: &Arc<Self>,
        shared: &Shared,
        change: &Change,
        made: Outcome,
        deadline: &Deadline,
    ) -> Outcome {
        if let (Ok(done), true) = (&made, shared.reads_copy) {
            let _ = shared
                .copied
                .await_revision(last_of(change, done), deadline);
        }
        made
    }

    /// Makes a change, whoever asks for it.
    #[cold]
    pub(in crate::bucket) fn make_change(
        self: &Arc<Self>,
        shared: &Shared,
        change: &Change,
        deadline: Deadline,
    ) -> Outcome {
        self.may_change()?;
        let changing = Changing {
            shared,
            store: shared.store()?,
            deadline,
            default_ttl: self.state().contents.times.default_ttl(),
        };
        let made = match change {
            Change::Ops(ops) => {
                let ops = collected(ops.iter().map(|op: &OwnOp| Ok(op.op())))?;
                changing.ops(&ops)
            }
            Change::Take { key, expected } => changing.take(key, *expected),
            Change::PutIfEqual {
                key,
                expected,
                value,
            } => changing.put_if_equal(key, expected.as_ref(), value.as_ref()),
            Change::Expire { key, ttl } => changing.expire(key, *ttl),
            Change::Fill(_) | Change::Clear => {
                Err(Error::Unsupported("all keys at once in a shared store").into())
            }
        };
        made.map_err(|refused| Refused {
            at: refused.at,
            error: self.shared_refusal(refused.error),
        })
    }
}

/// With the turn, what an update has decided about the value that it has read.
impl Decision<'_> {
    #[cold]
    pub(in crate::bucket) fn shared_store(
        &self,
        shared: &Shared,
        value: Option<ValueRef<'_>>,
    ) -> Result<(), Error> {
        self.bucket().may_change()?;
        let seen = lock(&shared.begun).seen.take();
        let key: Key<'_> = self.key();
        let (what, ttl) = match value {
            Some(value) => (What::Put(value), Ttl::Keep(None)),
            // Absent is as good as removed.
            None if seen == Some(0) => return Ok(()),
            None => (What::Delete, Ttl::Default),
        };
        let op = Op {
            key,
            what,
            expected: seen,
            ttl,
        };
        let change = Change::one(&op)?;
        let deadline = shared.deadline_of_update();
        let made = self.bucket().make_change(shared, &change, deadline);
        match made.map_err(Error::from) {
            Err(Error::NotFound) if value.is_none() => Ok(()),
            Err(refused) => Err(refused),
            Ok(done) => {
                self.bucket()
                    .await_copy_of(shared, done.revision, &deadline);
                Ok(())
            }
        }
    }
}
