//! What changes a bucket: puts, deletes and batches, as calls and as casts.

use std::sync::Arc;

use super::backed::{collected, Backed, Change, OwnOp};
use super::small_pair::SmallPair;
use super::{copy_key, BucketServer, BucketState, Message};
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::{Caller, Writing};
use crate::store::{Always, Changed, Condition, Contents, Key, Pair, Reader, Small, Ttl};
use crate::value::{Value, ValueRef};

/// Each as `BucketState` of the module's server. Calls may block for their turn; casts and the
/// short ways do not.
impl BucketServer {
    /// A value beyond the bucket's limit is refused before it is copied; what is wrong with
    /// the bucket itself is named first.
    pub(super) fn check_value(
        self: &Arc<Self>,
        value: &ValueRef<'_>,
        is_call: bool,
    ) -> Result<(), Error> {
        if value.text().len() <= self.state().spec.options.max_value {
            return Ok(());
        }
        if self.has_ended() {
            return Err(self.finish_end(Error::NoProcess));
        }
        if is_call && self.is_occupied_by_caller() {
            return Err(Error::CallingSelf);
        }
        Err(Error::Limit("bytes of a value"))
    }

    /// The short way of a put: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_put(
        &self,
        key: Key<'_>,
        value: Small<'_>,
        condition: impl Condition,
        pinned: &Guard,
    ) -> Option<Changed> {
        // No closure: one that is called from several places is not inlined.
        let turn = self.fast_enter()?;
        let write = turn.writing();
        if value.text_len() > write.state().spec.options.max_value {
            return None;
        }
        let changed = write.exclusive().fast_put(key, value, condition, pinned)?;
        turn.count_handled();
        Some(changed)
    }

    /// The short way of a delete: `None` if nothing was done. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_delete<R: Reader>(
        &self,
        key: Key<'_>,
        pinned: &Guard,
        reader: R,
    ) -> Option<R::Read> {
        self.fast_call(|write| write.exclusive().fast_delete(key, reader, pinned))
    }

    pub(crate) fn put(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
        value: ValueRef<'_>,
    ) -> Result<(), Error> {
        self.check_value(&value, true)?;
        let key = Key::new(key);
        if let Some(backed) = self.backed() {
            let change = Change::put(key, value, None, Ttl::Default)?;
            return self
                .change(caller, backed, change)
                .map(drop)
                .map_err(Error::from);
        }
        if !reclaim::has_room() && self.put_without_room(caller, &[(key, value)])? {
            return Ok(());
        }
        self.put_with_room(caller, key, value, Always).map(|_| ())
    }

    /// Stores a value on a condition; answers the revision.
    pub(super) fn put_with_room(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: Key<'_>,
        value: ValueRef<'_>,
        condition: impl Condition,
    ) -> Result<u64, Error> {
        with_memory(caller, |caller| {
            if value.is_small() {
                let put = |write: &Writing<'_, BucketState>| {
                    write.exclusive().put_small(key, value, condition)
                };
                return self.call(caller, put)?;
            }
            // What is large is copied before the turn is taken.
            caller.unpin();
            let pair = Pair::new(key, value)?;
            self.call(caller, |write| write.exclusive().put(pair, condition))?
        })
    }

    /// While what was overwritten waits to be freed, and may not become more: stores all in the
    /// places of older ones, which leaves nothing to be freed, or waits for readers; `false` if
    /// they have let go.
    #[cold]
    fn put_without_room(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pairs: &[(Key<'_>, ValueRef<'_>)],
    ) -> Result<bool, Error> {
        let is_small = pairs.iter().all(|(_, value)| value.is_small());
        if is_small && self.call(caller, |write| write.exclusive().overwrite_all(pairs))? {
            return Ok(true);
        }
        self.wait_for_room(caller).map(|()| false)
    }

    pub(super) fn wait_for_room(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        let waited = reclaim::wait_for_room(&caller.begin_blocking());
        match waited {
            Err(_) if self.has_ended() => Err(self.finish_end(Error::NoProcess)),
            waited => waited,
        }
    }

    pub(crate) fn delete(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<Value, Error> {
        if let Some(backed) = self.backed() {
            return self.take_backed(caller, backed, key, None);
        }
        let key = Key::new(key);
        self.call(caller, |write| write.exclusive().delete(key))?
    }

    /// Takes a key out, for callers who do not want the value.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        key: &[u8],
    ) -> Result<(), Error> {
        let key = Key::new(key);
        if let Some(backed) = self.backed() {
            let change = Change::delete(key, None)?;
            return self
                .change(caller, backed, change)
                .map(drop)
                .map_err(Error::from);
        }
        self.call(caller, |write| write.exclusive().remove(key))?
    }

    /// Takes a key out, of a bucket that a store keeps. Answers the value.
    pub(super) fn take_backed(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        backed: &Backed,
        key: &[u8],
        expected: Option<u64>,
    ) -> Result<Value, Error> {
        let key = copy_key(key)?;
        let done = self.change(caller, backed, Change::Take { key, expected })?;
        done.old.ok_or(Error::NotFound)
    }

    pub(crate) fn put_cast(self: &Arc<Self>, key: &[u8], value: ValueRef<'_>) -> Result<(), Error> {
        self.check_value(&value, false)?;
        if !reclaim::has_room() {
            return Err(Error::NoMemory);
        }
        let hashed = Key::new(key);
        if let Some(backed) = self.backed() {
            let reserved = self.state().contents.reserve_put(hashed, value)?;
            let change = Change::put(hashed, value, None, Ttl::Default)?;
            return self.change_cast(backed, change, reserved);
        }
        if !value.is_small() {
            return self.cast(Message::Put(Pair::new(hashed, value)?, Vec::new()));
        }
        self.cast_or_queue(
            |write| {
                let put = write.exclusive().put_small(hashed, value, Always);
                put.map(|_| ())
            },
            || match SmallPair::new(key, value) {
                Some(pair) if !self.state().is_limited => Ok(Message::PutSmall(pair)),
                _ => Ok(Message::Put(Pair::new(hashed, value)?, Vec::new())),
            },
        )
    }

    pub(crate) fn delete_cast(self: &Arc<Self>, key: &[u8]) -> Result<(), Error> {
        if let Some(backed) = self.backed() {
            let change = Change::delete(Key::new(key), None)?;
            return self.change_cast(backed, change, Vec::new());
        }
        self.cast(Message::Delete(copy_key(key)?))
    }

    /// A pair for an update, which is inside already.
    #[cfg(feature = "aio")]
    pub(super) fn pair_inside(
        self: &Arc<Self>,
        key: &[u8],
        value: ValueRef<'_>,
    ) -> Result<Pair, Error> {
        self.check_value(&value, false)?;
        Pair::new(Key::new(key), value)
    }

    /// Stores all pairs, or none.
    pub(crate) fn put_many(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        pairs: &[(Key<'_>, ValueRef<'_>)],
    ) -> Result<(), Error> {
        for (_, value) in pairs {
            self.check_value(value, true)?;
        }
        if let Some(backed) = self.backed() {
            let ops = pairs.iter().map(|(key, value)| OwnOp::put(*key, *value));
            let change = Change::Ops(collected(ops)?);
            return self
                .change(caller, backed, change)
                .map(drop)
                .map_err(Error::from);
        }
        if !reclaim::has_room() && self.put_without_room(caller, pairs)? {
            return Ok(());
        }
        with_memory(caller, |caller| {
            if !Contents::is_short(pairs) {
                // What is long is copied before the turn is taken.
                let ready = made(pairs, self.state().contents.has_default_ttl())?;
                return self.call(caller, |write| write.exclusive().put_many(ready))?;
            }
            self.call(caller, |write| {
                let contents = write.exclusive();
                if contents.overwrite_all(pairs) {
                    return Ok(());
                }
                contents.put_many(made(pairs, contents.has_default_ttl())?)
            })?
        })
    }

    pub(crate) fn clear(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if let Some(backed) = self.backed() {
            return self
                .change(caller, backed, Change::Clear)
                .map(drop)
                .map_err(Error::from);
        }
        self.call(caller, |write| write.exclusive().clear())
    }
}

/// Writes; what finds no memory frees what waits for that, and tries again.
pub(super) fn with_memory<R>(
    caller: &mut Caller<'_>,
    write: impl Fn(&mut Caller<'_>) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut is_again = false;
    loop {
        let written = write(caller);
        if !matches!(written, Err(Error::NoMemory)) {
            return written;
        }
        // Others may leave more to be freed for ever.
        let deadline = caller.begin_blocking();
        if is_again && deadline.has_passed() || !reclaim::free_for_writer(&deadline) {
            return written;
        }
        is_again = true;
    }
}

fn made(pairs: &[(Key<'_>, ValueRef<'_>)], are_timed: bool) -> Result<Vec<Pair>, Error> {
    let mut ready = Vec::new();
    memory::reserve(&mut ready, pairs.len())?;
    for (key, value) in pairs {
        ready.push(Pair::with_room(*key, *value, are_timed)?);
    }
    Ok(ready)
}
