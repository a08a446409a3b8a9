//! Reading a table in parts, while it changes, grows and shrinks between them.
//!
//! # The argument
//!
//! A key has a *position*: its hash with the order of the bits reversed. An array finds a key by
//! the lowest bits of its hash, which are the highest of its position. So the keys that belong
//! into one group are one range of positions, whatever the size of the array is: twice the groups
//! halve each range. A scan goes through the positions from 0 on and notes where it is, and goes
//! on from there in whatever array it finds. It sees each key that is there all the time once.

use super::entry::{Found, TableValue};
use super::writer::Writer;

/// Where a scan is: all keys of lower positions have been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    At(u64),
    End,
}

impl Position {
    pub(crate) const BEGINNING: Position = Position::At(0);

    /// Whether the scan has been where a key of this hash is.
    pub(crate) fn has_passed(self, hash: u64) -> bool {
        match self {
            Position::At(at) => hash.reverse_bits() < at,
            Position::End => true,
        }
    }

    /// The home group that comes next in an array of 2^`log` groups, and the position behind it.
    pub(super) fn group_in(self, log: u32) -> Option<(usize, Position)> {
        let Position::At(at) = self else {
            return None;
        };
        // Where there is but one group all positions are its.
        let home = at.checked_shr(64 - log).unwrap_or(0);
        let group = (home << ((64 - log) % 64)).reverse_bits();
        let group = group & !(u64::MAX << log);
        let next = match home + 1 {
            next if next >> log == 0 => Position::At(next << (64 - log)),
            _ => Position::End,
        };
        Some((group as usize, next))
    }
}

impl<'t, V: TableValue + Send + Sync + 'static> Writer<'t, V> {
    /// Shows the entries from a position on, whole groups of them, until what `show` answers of each
    /// has come up to the budget; answers how far it came.
    pub(crate) fn scan(
        &self,
        from: Position,
        budget: usize,
        mut show: impl FnMut(Found<'t, V>) -> usize,
    ) -> Position {
        let Ok(Some(array)) = self.array() else {
            return Position::End;
        };
        let (mut position, mut spent, log) = (from, 0usize, array.log());
        while let Some((group, next)) = position.group_in(log) {
            // Nothing of a large table is at hand, and one place says where the next one is.
            if let Some((next, behind)) = next.group_in(log) {
                array.ask_for_group(next);
                if let Some((behind, _)) = behind.group_in(log) {
                    array.ask_for_cells(behind);
                }
            }
            array.entries_at_home(group, |entry, hash| {
                if !position.has_passed(hash) {
                    // SAFETY: an entry of the table, and the writer is pinned.
                    spent = spent.saturating_add(show(unsafe { Found::new(entry) }));
                }
            });
            position = next;
            if spent >= budget {
                break;
            }
        }
        position
    }
}
