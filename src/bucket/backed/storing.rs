//! What waits in the line is stored: by who has the turn.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::request::{collected, Change, Done, Request};
use super::wall_clock;
use crate::bucket::{BucketServer, BucketState};
use crate::error::Error;
use crate::memory;
use crate::server::{Inside, Writing};
use crate::store::{AnyStore, Key, Op, Plan, Refused, Ttl, What, Written};
use crate::sync::lock;
use crate::time::Clock;
use crate::value::Value;

/// So much is stored in one go: what comes later waits for all of it.
const MOST_REQUESTS: usize = 1024;
const MOST_BYTES: usize = 4 << 20;

/// How many of the requests can be stored in one go: what one makes of its keys no later one looks
/// at. At least one.
fn together(requests: &[Arc<Request>]) -> usize {
    if requests.len() == 1 {
        return 1;
    }
    let mut touched: HashSet<&[u8]> = HashSet::new();
    let mut bytes = 0;
    for (at, request) in requests.iter().take(MOST_REQUESTS).enumerate() {
        let change = &request.change;
        bytes += change.size();
        let is_after = at > 0;
        if is_after && (change.is_alone() || bytes > MOST_BYTES) {
            return at;
        }
        if is_after && !change.is_free() && change.keys().any(|key| touched.contains(key)) {
            return at;
        }
        if change.is_alone() {
            return 1;
        }
        if touched.try_reserve(change.keys().count()).is_err() {
            return at + 1;
        }
        touched.extend(change.keys());
    }
    requests.len().min(MOST_REQUESTS)
}

/// What a request comes to, once what it asks for was looked at.
struct Asked {
    /// The value that it needs, or gives.
    read: Option<Value>,
    /// It changes nothing.
    is_done: bool,
}

/// Looks at what a request asks for.
fn ask(write: &Writing<'_, BucketState>, change: &Change) -> Result<Asked, Error> {
    let contents = write.exclusive();
    let mut asked = Asked {
        read: None,
        is_done: false,
    };
    match change {
        Change::Ops(_) | Change::Clear => {}
        Change::Take { key, .. } => asked.read = contents.look_up(Key::new(key))?,
        Change::Expire { key, .. } => {
            let value = contents.look_up(Key::new(key))?;
            asked.read = Some(value.ok_or(Error::NotFound)?);
        }
        Change::PutIfEqual {
            key,
            expected,
            value,
        } => {
            let wanted = expected.as_ref().map(Value::as_ref);
            contents.check_equal(Key::new(key), wanted, &Clock::new())?;
            asked.is_done = value.is_none() && expected.is_none();
        }
        Change::Fill(_) => {
            if !contents.is_empty()? {
                return Err(Error::Conflict);
            }
        }
    }
    Ok(asked)
}

/// The changes of a request.
fn ops_of<'r>(change: &'r Change, asked: &'r Asked) -> Result<Vec<Op<'r>>, Error> {
    let one = |key: &'r [u8], what, expected, ttl| {
        vec![Op {
            key: Key::new(key),
            what,
            expected,
            ttl,
        }]
    };
    Ok(match (change, &asked.read) {
        (Change::Ops(ops) | Change::Fill(ops), _) => collected(ops.iter().map(|op| Ok(op.op())))?,
        (Change::Take { key, expected }, _) => one(key, What::Delete, *expected, Ttl::Default),
        (Change::Expire { key, ttl }, Some(value)) => {
            one(key, What::Put(value.as_ref()), None, *ttl)
        }
        (Change::PutIfEqual { key, value, .. }, _) if !asked.is_done => match value {
            Some(value) => one(key, What::Put(value.as_ref()), None, Ttl::Keep(None)),
            None => one(key, What::Delete, None, Ttl::Default),
        },
        _ => Vec::new(),
    })
}

/// As `BucketState` of the module's server, with its turn.
impl BucketServer {
    /// Stores all that waits in the line, and answers it.
    pub(super) fn store_line(self: &Arc<Self>, inside: &Inside<BucketState>) {
        let Some(backed) = self.backed() else {
            return;
        };
        let line = backed.take_line();
        line.0.iter().for_each(|request| request.give_back());
        self.store_requests(inside, &line.0);
        for request in line.0.iter().filter(|request| request.is_cast) {
            backed.cast.fetch_sub(1, Ordering::AcqRel);
            if let Err(refused) = request.outcome() {
                self.log_error(&format!("a cast was dropped: {}", refused.error));
            }
        }
    }

    pub(super) fn store_requests(
        self: &Arc<Self>,
        inside: &Inside<BucketState>,
        requests: &[Arc<Request>],
    ) {
        if let Some(shared) = self.shared() {
            for request in requests {
                let deadline = shared.deadline_of_update();
                let made = self.make_change(shared, &request.change, deadline);
                request.answer(self.seen_in_copy(shared, &request.change, made, &deadline));
            }
            return;
        }
        let mut rest = requests;
        while !rest.is_empty() {
            let (group, later) = rest.split_at(together(rest));
            if let Err(refused) = self.store_group(inside, group) {
                match group {
                    [alone] => alone.answer(Err(refused)),
                    group => {
                        // One of them takes too much: which, is seen if each is stored by itself.
                        for request in group.iter().filter(|it| !it.is_answered()) {
                            if let Err(refused) = self.store_group(inside, &[Arc::clone(request)]) {
                                request.answer(Err(refused));
                            }
                        }
                    }
                }
            }
            rest = later;
        }
    }

    /// Stores what can be of some requests, and answers these. Refused if that concerns those that
    /// are not answered: then nothing of them was stored.
    fn store_group(
        self: &Arc<Self>,
        inside: &Inside<BucketState>,
        group: &[Arc<Request>],
    ) -> Result<(), Refused> {
        if let [alone] = group {
            if let Change::Clear = alone.change {
                let revision = self.store_clear(inside)?;
                alone.answer(Ok(Done {
                    revision,
                    ..Done::default()
                }));
                return Ok(());
            }
        }
        let asked = inside.commit(|write| {
            let asked = group.iter().map(|request| ask(write, &request.change));
            asked.collect::<Vec<_>>()
        })?;
        let mut asking: Vec<(&Arc<Request>, Asked)> = Vec::new();
        for (request, asked) in group.iter().zip(asked) {
            match asked {
                Ok(asked) if asked.is_done => request.answer(Ok(Done::default())),
                Ok(asked) => asking.push((request, asked)),
                Err(refused) => request.answer(Err(refused.into())),
            }
        }
        let each = asking.iter();
        let each = collected(each.map(|(request, asked)| ops_of(&request.change, asked)))?;
        let allowed = self.check_each(inside, &each)?;
        let mut ops: Vec<Op<'_>> = Vec::new();
        memory::reserve(&mut ops, each.iter().map(Vec::len).sum())?;
        let mut stored: Vec<(&Arc<Request>, Range<usize>)> = Vec::new();
        for (((request, _), own), allowed) in asking.iter().zip(&each).zip(allowed) {
            match allowed {
                Err(refused) if group.len() > 1 => request.answer(Err(refused)),
                Err(refused) => return Err(refused),
                Ok(()) => {
                    let first = ops.len();
                    ops.extend(own);
                    stored.push((request, first..ops.len()));
                }
            }
        }
        let (first, sums) = self.store_ops(inside, &ops)?;
        for (request, range) in stored {
            let at = asking.iter().position(|(it, _)| Arc::ptr_eq(it, request));
            let old = match request.change {
                Change::Take { .. } => at.and_then(|at| asking[at].1.read.clone()),
                _ => None,
            };
            let sum = sums.get(range.start).copied().flatten();
            let revision = match range.is_empty() {
                true => 0,
                false => first + range.start as u64,
            };
            request.answer(Ok(Done { revision, sum, old }));
        }
        Ok(())
    }

    /// Which of several requests their keys refuse. One alone is asked when it is prepared.
    fn check_each(
        &self,
        inside: &Inside<BucketState>,
        each: &[Vec<Op<'_>>],
    ) -> Result<Vec<Result<(), Refused>>, Error> {
        if each.len() <= 1 {
            return Ok(each.iter().map(|_| Ok(())).collect());
        }
        inside.commit(|write| {
            let check = |ops: &Vec<Op<'_>>| {
                let mut plan = Plan::of(ops)?;
                write.exclusive().check_plan(&mut plan)
            };
            each.iter().map(check).collect()
        })
    }

    /// Stores changes as one, and makes them seen. Answers the revision of the first, and what those
    /// come to that add.
    fn store_ops(
        self: &Arc<Self>,
        inside: &Inside<BucketState>,
        ops: &[Op<'_>],
    ) -> Result<(u64, Vec<Option<i64>>), Refused> {
        if ops.is_empty() {
            return Ok((0, Vec::new()));
        }
        let mut plan = Plan::of(ops)?;
        plan.make_entries()?; // what is large is copied while others may read under the lock
        let prepared = inside.commit(|write| write.exclusive().prepare(&mut plan))?;
        let (prepared, first) = prepared?;
        let gone = self.state().contents.take_gone();
        let (mut written, mut sums) = (Vec::new(), Vec::new());
        let room = memory::reserve(&mut written, gone.len() + ops.len())
            .and_then(|()| memory::reserve(&mut sums, ops.len()));
        let stored = room.and_then(|()| {
            let deletes = gone.iter().map(|key| Written::Delete {
                key,
                revision: first,
            });
            written.extend(deletes);
            plan.written(first, wall_clock(), |change| written.push(change));
            self.write_to_store(&written)
        });
        drop(written);
        if let Err(refused) = stored {
            self.state().contents.note_gone_again(gone);
            let _ = inside.commit(|write| write.exclusive().give_up(prepared));
            return Err(self.store_refused(inside, refused).into());
        }
        sums.extend((0..ops.len()).map(|at| plan.sum(at)));
        let published = inside.commit(|write| write.exclusive().publish(&mut plan, prepared))?;
        match published {
            Ok(published) => {
                debug_assert_eq!(published, first);
                Ok((first, sums))
            }
            Err(_) => Err(inside.crash("no memory to show what is stored").into()),
        }
    }

    fn store_clear(self: &Arc<Self>, inside: &Inside<BucketState>) -> Result<u64, Error> {
        let revision = inside.commit(|write| write.exclusive().next_revision())?;
        if let Err(refused) = self.write_to_store(&[Written::Clear { revision }]) {
            return Err(self.store_refused(inside, refused));
        }
        drop(self.state().contents.take_gone());
        inside.commit(|write| write.exclusive().clear())?;
        Ok(revision)
    }

    fn write_to_store(&self, changes: &[Written<'_>]) -> Result<(), Error> {
        let backed = self.backed().ok_or(Error::ServerDown)?;
        let store = lock(&backed.store);
        let opened = store.as_ref().ok_or(Error::ServerDown)?;
        match &opened.store {
            AnyStore::Exclusive(store) => store.write(changes),
            AnyStore::Shared(_) => Err(Error::ServerDown), // it is not asked here
        }
    }

    /// What the store answered: if nobody knows what is stored now, the bucket ends, and who is
    /// started in its place reads it.
    fn store_refused(self: &Arc<Self>, inside: &Inside<BucketState>, refused: Error) -> Error {
        match refused {
            Error::Io { .. } => inside.crash(&format!("its store failed: {refused}")),
            refused => refused,
        }
    }
}
