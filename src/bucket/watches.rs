//! A bucket as watches see it.

use std::sync::Arc;

use super::BucketServer;
use crate::error::Error;
use crate::inbox::{InboxCore, WatchOptions};
use crate::reclaim::Guard;
use crate::server::Caller;
use crate::store::{Key, Unread, Watch, Watched, Watching};
use crate::table::Position;
use crate::value::Value;

impl BucketServer {
    /// Has an inbox told of what changes. Waits for what was cast before, and for who changes the
    /// bucket at the moment.
    pub(crate) fn watch(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        inbox: &Arc<InboxCore>,
        options: &WatchOptions,
    ) -> Result<u64, Error> {
        self.copy_for_watches(caller)?;
        inbox.watch(self, caller, options, |write, reference, covered, inbox| {
            write.exclusive().watch(reference, covered, inbox)
        })
    }
}

impl Watched for BucketServer {
    fn watching(&self) -> &Watching {
        self.state().contents.watching()
    }

    fn unwatch(&self, watch: &Arc<Watch>) {
        self.state().contents.unwatch(watch);
    }

    fn is_away(&self) -> bool {
        self.shared().is_some_and(|shared| shared.copied.is_away())
    }

    fn known(&self) -> u64 {
        self.state().contents.known()
    }

    fn now(&self, key: Key<'_>, with_value: bool) -> Result<Option<(Value, u64)>, Unread> {
        // A copy that nobody reads lies beside.
        let key = match self.reads_at_store() {
            Some(_) => key.aside(),
            None => key,
        };
        self.state().contents.now(key, with_value)
    }

    fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        let contents = &self.state().contents;
        match self.reads_at_store() {
            Some(_) => contents.page_aside(from, enough, pinned, show),
            None => contents.page(from, enough, pinned, show),
        }
    }
}
