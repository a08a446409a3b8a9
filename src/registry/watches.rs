//! The names of a registry's buckets as watches see them: keys without values.

use std::sync::Arc;

use super::RegistryServer;
use crate::error::Error;
use crate::inbox::{InboxCore, WatchOptions};
use crate::reclaim::Guard;
use crate::server::Caller;
use crate::store::{Key, Unread, Watch, Watched, Watching};
use crate::table::Position;
use crate::value::Value;

impl RegistryServer {
    /// Has an inbox told of names of buckets that come and go, and of restarts. Waits for what was
    /// cast before, and for who changes the names at the moment.
    pub(crate) fn watch_names(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        inbox: &Arc<InboxCore>,
        options: &WatchOptions,
    ) -> Result<u64, Error> {
        inbox.watch(self, caller, options, |write, reference, covered, inbox| {
            write.exclusive().watch(reference, covered, inbox)
        })
    }
}

impl Watched for RegistryServer {
    fn watching(&self) -> &Watching {
        self.state().names.watching()
    }

    fn unwatch(&self, watch: &Arc<Watch>) {
        self.state().names.unwatch(watch);
    }

    fn known(&self) -> u64 {
        self.state().names.known()
    }

    fn now(&self, name: Key<'_>, _with_value: bool) -> Result<Option<(Value, u64)>, Unread> {
        let now = self.state().names.revision(&name)?;
        Ok(now.map(|revision| (Value::Nil, revision)))
    }

    fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        self.state().names.page(from, enough, pinned, show)
    }
}
