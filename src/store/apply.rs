//! Several changes of several kinds as one change, by the one thread that may make it.
//!
//! They are looked at first (`plan.rs`); from then on nothing is refused but by the limits and for
//! want of memory, and that before anything has changed. A short batch that only writes over what
//! is there, with room for it, is written in its places, as `batch.rs` does. Any other is put in
//! entry by entry, tombstones for what goes, and readers see what was before it until all count
//! (`table::Batch`). Each change has a revision of its own; of a key that is changed twice readers
//! see the last one only.

use super::batch::{SHORT, SHORT_BYTES};
use super::contents::{Change, Contents, Pair, SNAPSHOTS, WATCHED};
use super::eviction::keep_it;
use super::key_log::Kind;
use super::plan::{Net, Op, Plan, Refused, What};
use super::stored::{Small, Stored};
use super::writing::count_retired;
use crate::error::Error;
use crate::memory;
use crate::reclaim::{self, Guard};
use crate::server::Exclusive;
use crate::sync::Ordering;
use crate::table::{Batch, BatchRoom, Found, Staged, Writer};
use crate::time::Clock;
use crate::value::{Value, ValueRef};

pub(super) fn is_limit(refused: &Refused) -> bool {
    matches!(refused.error, Error::Limit(_))
}

/// Changes that nothing refuses any more: there is room for them, and the limits have counted them.
pub(crate) struct Prepared {
    net: Net,
    changes: Vec<Option<Change>>,
    room: BatchRoom<Stored>,
}

/// Where a change is written, what, and which change it is.
type Place<'t> = Option<(Found<'t, Stored>, Small<'t>, usize)>;

impl Plan<'_> {
    /// Whether it may be written in its places.
    pub(crate) fn is_short(&self) -> bool {
        let bytes = self.ops.iter().map(|op| match op.what {
            What::Put(value) => value.size(),
            What::Delete | What::Add(_) => 0,
        });
        self.ops.len() <= SHORT && bytes.sum::<usize>() <= SHORT_BYTES
    }
}

impl Exclusive<'_, Contents> {
    /// Makes all changes or none. Answers the revision of the first; the others follow it.
    pub(crate) fn apply(&self, plan: &mut Plan<'_>) -> Result<u64, Refused> {
        let pinned = reclaim::pin();
        let writer = self.writer(&pinned);
        let clock = Clock::new();
        let _noting = self.note_many(plan.ops.len(), &pinned);
        loop {
            let net = plan.check(&writer, &clock)?;
            if let Some(first) = self.apply_in_places(plan, &net, &pinned)? {
                return Ok(first);
            }
            match self.apply_entries(plan, net, &writer, &clock, &pinned) {
                // Keys whose time is over make room before the limits refuse.
                Err(refused) if is_limit(&refused) && self.sweep_for_room() => {}
                applied => return applied,
            }
        }
    }

    /// As `apply`, if that leaves nothing to be freed; `None` if it would.
    pub(crate) fn apply_there(&self, plan: &mut Plan<'_>) -> Result<Option<u64>, Refused> {
        let pinned = reclaim::pin();
        let net = plan.check(&self.writer(&pinned), &Clock::new())?;
        self.apply_in_places(plan, &net, &pinned)
    }

    /// Writes what is short in the places of older values; `None` if that cannot be done, or others
    /// are to be told. Takes no memory.
    fn apply_in_places(
        &self,
        plan: &Plan<'_>,
        net: &Net,
        pinned: &Guard,
    ) -> Result<Option<u64>, Refused> {
        if !plan.is_short() || self.heed.load(Ordering::Relaxed) & !WATCHED != 0 {
            return Ok(None);
        }
        let Some(places) = self.places_of(plan, pinned) else {
            return Ok(None);
        };
        match self.charge(net.less, net.more) {
            Ok(()) => {}
            // The other way makes room, if there is any to be had.
            Err(_) if self.eviction.is_some() || self.timed() > 0 => return Ok(None),
            Err(error) => return Err(self.beyond(plan, error)),
        }
        let each = || places.iter().map_while(Option::as_ref);
        let first = self.revisions.begin(plan.ops.len() as u64);
        // Noted after the look above: then it does not know what is taken away here.
        if self.heed.load(Ordering::Relaxed) & SNAPSHOTS != 0 {
            for (found, _, at) in each() {
                let hash = plan.ops[*at].key.hash;
                self.snapshots.keep(found, hash, first + *at as u64, pinned);
            }
        }
        for (found, ..) in each() {
            let were_in = found.value().keep_readers_out();
            debug_assert!(were_in, "no key has two places");
        }
        for (found, value, at) in each() {
            let revision = first + *at as u64;
            found.value().write_kept_out(found.tail(), value, revision);
            found.note_use();
        }
        for (found, value, _) in each() {
            found.value().let_readers_see(value);
        }
        self.revisions.commit();
        for (found, _, at) in each() {
            self.note(Kind::Put, first + *at as u64, found.key(), pinned);
        }
        Ok(Some(first))
    }

    /// `None` if there is no place for one.
    fn places_of<'t>(
        &'t self,
        plan: &'t Plan<'_>,
        pinned: &'t Guard,
    ) -> Option<[Place<'t>; SHORT]> {
        let writer = self.writer(pinned);
        let mut places = [const { None }; SHORT];
        let mut free = places.iter_mut();
        let steps = plan.ops.iter().zip(&plan.steps).enumerate();
        for (at, (op, step)) in steps.filter(|(_, (_, step))| step.is_last) {
            let value = match op.what {
                What::Put(value) => value,
                What::Add(_) => ValueRef::Int(step.sum),
                What::Delete => return None,
            };
            let small = Small::of(value)?;
            let found = writer.get(op.key.hash, &op.key).ok()??;
            if found.value().is_timed() || !self.gives_none(step.ttl) {
                return None;
            }
            if !found.value().can_become(found.tail(), &small) {
                return None;
            }
            *free.next()? = Some((found, small, at));
        }
        Some(places)
    }

    fn beyond(&self, plan: &Plan<'_>, error: Error) -> Refused {
        let at = self.limits.as_ref().and_then(|it| plan.first_beyond(it));
        Refused { at, error }
    }

    /// Counts what the changes take. Where keys are evicted it makes room for that, but by none that
    /// is changed.
    fn charge_plan(
        &self,
        plan: &Plan<'_>,
        net: &Net,
        writer: &Writer<'_, Stored>,
        pinned: &Guard,
    ) -> Result<(), Refused> {
        let charge = || self.charge(net.less, net.more);
        let refused = match charge() {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if self.eviction.is_none() {
            return Err(self.beyond(plan, refused));
        }
        let keep = |is_kept| {
            let there = |op: &Op<'_>| writer.get(op.key.hash, &op.key).ok().flatten();
            let there = plan.ops.iter().filter_map(there);
            there.for_each(|found| keep_it(&found, is_kept));
        };
        keep(true);
        let charged = self.make_room(net.more, pinned, refused, charge);
        keep(false);
        charged.map_err(|refused| self.beyond(plan, refused))?;
        // What was taken out may have made the table smaller.
        if writer.has_room_for(net.new) {
            return Ok(());
        }
        writer.reserve(net.new).map_err(|error| {
            self.uncharge(net.less, net.more);
            error.into()
        })
    }

    /// Puts entries and tombstones in the place of what is there.
    fn apply_entries(
        &self,
        plan: &mut Plan<'_>,
        net: Net,
        writer: &Writer<'_, Stored>,
        clock: &Clock,
        pinned: &Guard,
    ) -> Result<u64, Refused> {
        let prepared = self.prepare_entries(plan, net, writer, clock, pinned)?;
        if let Err(refused) = writer.list(plan.left()) {
            self.give_up(prepared);
            return Err(refused.into());
        }
        Ok(self.publish_entries(plan, prepared, writer, pinned))
    }

    /// All of it that can be refused, but that new keys are listed in their order.
    pub(super) fn prepare_entries(
        &self,
        plan: &mut Plan<'_>,
        net: Net,
        writer: &Writer<'_, Stored>,
        clock: &Clock,
        pinned: &Guard,
    ) -> Result<Prepared, Refused> {
        plan.make_entries()?;
        self.give_lives_to(plan, writer, clock, pinned)?;
        if !writer.has_room_for(net.new) {
            writer.reserve(net.new)?;
        }
        let changes = self.to_tell(plan)?;
        self.charge_plan(plan, &net, writer, pinned)?;
        match plan.take_room() {
            Ok(room) => Ok(Prepared { net, changes, room }),
            Err(refused) => {
                self.uncharge(net.less, net.more);
                Err(refused.into())
            }
        }
    }

    /// As if it had not been prepared.
    pub(crate) fn give_up(&self, prepared: Prepared) {
        self.uncharge(prepared.net.less, prepared.net.more);
    }

    /// Makes the changes, whose new keys are listed. Answers the revision of the first.
    pub(super) fn publish_entries(
        &self,
        plan: &mut Plan<'_>,
        prepared: Prepared,
        writer: &Writer<'_, Stored>,
        pinned: &Guard,
    ) -> u64 {
        let Prepared { changes, room, .. } = prepared;
        let first = self.revisions.begin(plan.ops.len() as u64);
        let mut batch = Batch::within(writer, room);
        let steps = plan.ops.iter().zip(&mut plan.steps);
        for ((op, step), revision) in steps.zip(first..) {
            let Some(entry) = step.entry.take().filter(|_| step.leaves) else {
                continue; // it is not the last of its key, or leaves nothing where nothing was
            };
            let view = entry.view();
            if let What::Add(_) = op.what {
                view.value().set_number(view.tail(), step.sum);
            }
            view.value().stage(revision);
            self.count_timed(false, view.value().is_timed());
            if self.eviction.is_some() {
                let there = writer.get(op.key.hash, &op.key).ok().flatten();
                entry.set_marks(self.marks_within_batch(there.as_ref(), op.key.hash));
            }
            let Some(replaced) = batch.add(entry) else {
                continue;
            };
            self.count_timed(replaced.value().is_timed(), false);
            if self.heed.load(Ordering::Relaxed) & SNAPSHOTS != 0 {
                let hash = op.key.hash;
                self.snapshots.keep(&replaced, hash, revision, pinned);
            }
            count_retired(Some(&replaced), pinned);
        }
        self.revisions.commit();
        for found in batch.entries() {
            let kind = match found.value().is_tombstone() {
                true => Kind::Deleted,
                false => Kind::Put,
            };
            self.note(kind, found.value().revision(), found.key(), pinned);
        }
        batch.settle();
        self.tidy_places(plan.ops.len(), writer, pinned);
        for change in changes {
            self.tell(change);
        }
        first
    }

    /// Gives each key that is put the life that it is to have.
    fn give_lives_to(
        &self,
        plan: &mut Plan<'_>,
        writer: &Writer<'_, Stored>,
        clock: &Clock,
        pinned: &Guard,
    ) -> Result<(), Error> {
        for (op, step) in plan.ops.iter().zip(&mut plan.steps) {
            let is_put = !matches!(op.what, What::Delete);
            let Some(entry) = step.entry.take().filter(|_| step.leaves) else {
                continue;
            };
            let mut pair = Pair(entry);
            if is_put {
                let old = writer.get(op.key.hash, &op.key).ok().flatten();
                let life = self.new_life(step.ttl, old.as_ref(), op.key.hash, clock, pinned);
                pair = pair.living(life?)?;
            }
            step.entry = Some(pair.0);
        }
        Ok(())
    }

    /// What the observer is told, if there is one: of each change.
    fn to_tell(&self, plan: &Plan<'_>) -> Result<Vec<Option<Change>>, Error> {
        let mut changes = Vec::new();
        if self.observer().is_none() {
            return Ok(changes);
        }
        memory::reserve(&mut changes, plan.ops.len())?;
        changes.extend(plan.ops.iter().zip(&plan.steps).map(|(op, step)| {
            // Without memory for the copy there is none for the line either: told as nil.
            let copy = |value| Some(Value::new(value).unwrap_or(Value::Nil));
            let value = match op.what {
                What::Put(value) => copy(value),
                What::Add(_) => copy(ValueRef::Int(step.sum)),
                What::Delete => None,
            };
            let key = memory::bytes(&op.key)?;
            Some(Change { key, value })
        }));
        Ok(changes)
    }
}
