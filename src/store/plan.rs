//! What several changes of several kinds, made as one, come to: looked at before any is made.
//!
//! A later change of a key sees what an earlier one made of it. So the changes of one key are looked
//! at one after the other, and of all that they make only the last counts: each key gets one entry,
//! or a tombstone, or nothing. Keys do not depend on each other, so they are looked at in whatever
//! order; the first change that is refused is the one that comes first among those that were given.

use super::contents::Pair;
use super::key::Key;
use super::limits::{Cost, Limits};
use super::stored::{Stored, MIN_TAIL};
use super::ttl::{is_over, Ttl};
use crate::error::Error;
use crate::memory;
use crate::table::{BatchRoom, Closed, Entry, Found, NewEntry, Writer};
use crate::time::Clock;
use crate::value::ValueRef;

/// One of several changes.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) what: What<'a>,
    /// The revision that the key must have; 0: it must be absent. `None`: whatever it has.
    pub(crate) expected: Option<u64>,
    /// Of a put. To add keeps what the key has.
    pub(crate) ttl: Ttl,
}

#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    Put(ValueRef<'a>),
    /// Refused if the key is absent.
    Delete,
    /// To an integer; absent counts as 0.
    Add(i64),
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Which change was the first that was refused; `None` if it is due to none of them.
    pub(crate) at: Option<usize>,
    pub(crate) error: Error,
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        refused.error
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused { at: None, error }
    }
}

/// A key between two changes.
#[derive(Clone, Copy)]
struct Now {
    /// `None`: absent, or its time is over.
    key: Option<There>,
}

#[derive(Clone, Copy)]
struct There {
    /// `None`: that of an earlier change of these, which nobody can expect.
    revision: Option<u64>,
    number: Option<i64>,
    cost: Cost,
    /// What it has, or was given by an earlier change.
    ttl: Ttl,
}

impl Now {
    fn of(found: Option<&Found<'_, Stored>>) -> Now {
        let key = found.map(|found| There {
            revision: Some(found.value().revision()),
            number: found.value().int(found.tail()),
            cost: Cost::of(found),
            ttl: Ttl::Keep(None),
        });
        Now { key }
    }

    fn number(self) -> Option<i64> {
        self.key.and_then(|there| there.number)
    }

    fn cost(self) -> Cost {
        self.key.map(|there| there.cost).unwrap_or_default()
    }

    fn after(self, op: &Op<'_>) -> Result<Now, Error> {
        let is_delete = matches!(op.what, What::Delete);
        if is_delete && self.key.is_none() {
            return Err(Error::NotFound);
        }
        if let Some(expected) = op.expected {
            let revision = self.key.map_or(Some(0), |there| there.revision);
            if revision != Some(expected) {
                return Err(Error::Conflict);
            }
        }
        let has = self.key.map_or(Ttl::Default, |there| there.ttl);
        let ttl = match (op.what, op.ttl) {
            (What::Add(_), _) | (_, Ttl::Keep(_)) => has,
            (_, given) => given,
        };
        let (number, size) = match op.what {
            What::Delete => return Ok(Now { key: None }),
            What::Put(ValueRef::Int(number)) => (Some(number), 8),
            What::Put(value) => (None, value.size()),
            What::Add(delta) => {
                let number = self.key.map_or(Some(0), |there| there.number);
                let sum = number.ok_or(Error::WrongType)?.checked_add(delta);
                (Some(sum.ok_or(Error::Limit("a sum of 64 bits"))?), 8)
            }
        };
        let bytes = op.key.len() + size;
        Ok(Now {
            key: Some(There {
                revision: None,
                number,
                cost: Cost { keys: 1, bytes },
                ttl,
            }),
        })
    }
}

/// What is known of one change.
pub(super) struct Step {
    /// Whether it is the last of its key: then it is the one that counts.
    pub(super) is_last: bool,
    /// What it leaves in the table: made by `make_entries`.
    pub(super) entry: Option<NewEntry<Stored>>,
    /// Whether there is anything to be left there: for a tombstone there must be an entry.
    pub(super) leaves: bool,
    /// Of one that adds.
    pub(super) sum: i64,
    /// What its key has then.
    pub(super) ttl: Ttl,
    less: Cost,
    more: Cost,
}

/// Several changes, prepared before the turn is taken as far as that can be done.
pub(crate) struct Plan<'a> {
    pub(super) ops: &'a [Op<'a>],
    /// As the changes.
    pub(super) steps: Vec<Step>,
    /// The changes in the order of their keys.
    by_key: Vec<usize>,
    room: Option<BatchRoom<Stored>>,
}

/// What all changes come to.
#[derive(Default)]
pub(super) struct Net {
    pub(super) less: Cost,
    pub(super) more: Cost,
    /// Keys that the table has not yet.
    pub(super) new: usize,
}

impl<'a> Plan<'a> {
    pub(crate) fn of(ops: &'a [Op<'a>]) -> Result<Plan<'a>, Error> {
        let (mut steps, mut by_key) = (Vec::new(), Vec::new());
        memory::reserve(&mut steps, ops.len())?;
        memory::reserve(&mut by_key, ops.len())?;
        by_key.extend(0..ops.len());
        // This takes no memory.
        by_key.sort_unstable_by(|one, other| {
            let (first, second) = (&ops[*one].key, &ops[*other].key);
            let keys = (first.hash, &**first).cmp(&(second.hash, &**second));
            keys.then(one.cmp(other))
        });
        steps.extend(ops.iter().map(|_| Step {
            is_last: false,
            entry: None,
            leaves: false,
            sum: 0,
            ttl: Ttl::Default,
            less: Cost::default(),
            more: Cost::default(),
        }));
        for key in keys(ops, &by_key) {
            if let Some(last) = key.last() {
                steps[*last].is_last = true;
            }
        }
        Ok(Plan {
            ops,
            steps,
            by_key,
            room: None,
        })
    }

    /// Makes what is put into the table, unless it is there: the only step that needs memory of
    /// the caller's size.
    pub(crate) fn make_entries(&mut self) -> Result<(), Error> {
        if self.room.is_some() {
            return Ok(());
        }
        let mut entries = 0;
        for (op, step) in self.ops.iter().zip(&mut self.steps) {
            if !step.is_last {
                continue;
            }
            entries += 1;
            let pair = |value| Pair::new(op.key, value).map(|pair| pair.0);
            step.entry = Some(match op.what {
                What::Put(value) => pair(value)?,
                What::Add(_) => pair(ValueRef::Int(0))?, // the sum is not known yet
                What::Delete => {
                    let tombstone = Stored::tombstone();
                    Entry::allocate_hashed(&op.key, op.key.hash, tombstone, b"", MIN_TAIL)?
                }
            });
        }
        self.room = Some(BatchRoom::for_entries(entries)?);
        Ok(())
    }

    /// What the changes leave in the table, once it is made.
    pub(super) fn left(&self) -> impl Iterator<Item = &NewEntry<Stored>> + Clone {
        let leaving = self.steps.iter().filter(|step| step.leaves);
        leaving.filter_map(|step| step.entry.as_ref())
    }

    pub(super) fn take_room(&mut self) -> Result<BatchRoom<Stored>, Error> {
        self.make_entries()?;
        self.room.take().ok_or(Error::NoMemory)
    }

    /// Looks at all of them as the table is now.
    pub(super) fn check(
        &mut self,
        writer: &Writer<'_, Stored>,
        clock: &Clock,
    ) -> Result<Net, Refused> {
        let mut net = Net::default();
        let mut first: Option<(usize, Error)> = None;
        for key in keys(self.ops, &self.by_key) {
            let (Some(one), Some(last)) = (key.first(), key.last()) else {
                continue;
            };
            let one = &self.ops[*one].key;
            let found = writer.get(one.hash, one);
            let found = found.map_err(|Closed| Error::ServerDown)?;
            let mut now = Now::of(found.as_ref().filter(|found| !is_over(found, clock)));
            for &at in key {
                if first.as_ref().is_some_and(|(first, _)| *first < at) {
                    break; // what becomes of it does not matter
                }
                match now.after(&self.ops[at]) {
                    Ok(next) => {
                        let step = &mut self.steps[at];
                        (step.less, step.more) = (now.cost(), next.cost());
                        step.sum = next.number().unwrap_or(0);
                        step.ttl = next.key.map_or(Ttl::Default, |there| there.ttl);
                        now = next;
                    }
                    Err(error) => {
                        first = Some((at, error));
                        break;
                    }
                }
            }
            // One whose time is over lies there yet.
            self.steps[*last].leaves = found.is_some() || now.key.is_some();
            net.less = net
                .less
                .and(found.as_ref().map(Cost::of).unwrap_or_default());
            net.more = net.more.and(now.cost());
            net.new += usize::from(found.is_none() && now.key.is_some());
        }
        match first {
            None => Ok(net),
            Some((at, error)) => Err(Refused {
                at: Some(at),
                error,
            }),
        }
    }

    /// The first change that passes the limits, of changes that do so when all are made.
    pub(super) fn first_beyond(&self, limits: &Limits) -> Option<usize> {
        let (mut less, mut more) = (Cost::default(), Cost::default());
        let beyond = self.steps.iter().position(|step| {
            less = less.and(step.less);
            more = more.and(step.more);
            !limits.have_room(less, more)
        });
        // Others may have given back what they had of a limit that they share.
        beyond.or(self.steps.len().checked_sub(1))
    }
}

/// The changes of each key, in their order.
fn keys<'p>(ops: &'p [Op<'_>], by_key: &'p [usize]) -> impl Iterator<Item = &'p [usize]> {
    by_key.chunk_by(|one, other| {
        let (one, other) = (&ops[*one].key, &ops[*other].key);
        one.hash == other.hash && **one == **other
    })
}
