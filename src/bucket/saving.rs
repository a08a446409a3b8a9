//! A bucket as a file: saved as it is at one instant, and restored. File work is done on the calling
//! thread, outside the bucket's turn.

use std::sync::Arc;

use super::backed::{collected, wall_clock, Backed, Change, OwnOp};
use super::writes::with_memory;
use super::BucketServer;
use crate::error::Error;
use crate::reclaim;
use crate::runtime::files::{self, NewFile};
use crate::server::Caller;
use crate::store::{read_saved, write_saved};
use crate::time::Moment;

/// Each as `BucketState` of the module's server. They may block like a call, and for the disk.
impl BucketServer {
    /// Writes all entries into a file that takes the place of the one at `path`, if there is one,
    /// when it is whole.
    pub(crate) fn save(self: &Arc<Self>, caller: &mut Caller<'_>, path: &str) -> Result<(), Error> {
        self.check_whole()?;
        let (mut entries, moment) = self.items_at(caller)?;
        // When they were read, which others may have made last.
        let since = moment.map_or(0, |moment| Moment::now().ms().saturating_sub(moment.ms()));
        let now = wall_clock().saturating_sub(since as i64);
        caller.unpin();
        let mut file = NewFile::beside(path)?;
        write_saved(&mut file, &mut entries, now)?;
        file.put_in_place()
    }

    /// Stores all entries of a file in a bucket that has no keys, or none.
    pub(crate) fn restore(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        path: &str,
    ) -> Result<(), Error> {
        self.check_whole()?;
        if let Some(backed) = self.backed() {
            return self.restore_backed(caller, backed, path);
        }
        // With the turn, so that what comes before a conflict is told; and before the file is read.
        if !self.call(caller, |write| write.exclusive().is_empty())?? {
            return Err(Error::Conflict);
        }
        if !reclaim::has_room() {
            self.wait_for_room(caller)?;
        }
        with_memory(caller, |caller| {
            caller.unpin();
            let (file, len) = files::open(path)?;
            let max_value = self.state().spec.options.max_value;
            let pairs = read_saved(file, len, wall_clock(), max_value)?;
            self.call(caller, |write| write.exclusive().fill(pairs, wall_clock()))?
        })
    }

    /// What others change too is never whole.
    fn check_whole(self: &Arc<Self>) -> Result<(), Error> {
        match self.is_shared() {
            false => Ok(()),
            true if self.has_ended() => Err(self.finish_end(Error::NoProcess)),
            true => Err(Error::Unsupported("all keys at once in a shared store")),
        }
    }

    fn restore_backed(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        backed: &Backed,
        path: &str,
    ) -> Result<(), Error> {
        caller.unpin();
        let (file, len) = files::open(path)?;
        let max_value = self.state().spec.options.max_value;
        let saved = read_saved(file, len, wall_clock(), max_value)?;
        let now = wall_clock();
        let ops = saved.iter().map(|saved| saved.with_op(now, OwnOp::of));
        let change = Change::Fill(collected(ops)?);
        self.change(caller, backed, change)
            .map(drop)
            .map_err(Error::from)
    }
}
