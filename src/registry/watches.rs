//! The names of a registry's buckets as watches see them: keys without values.

use std::sync::{Arc, Weak};

use super::RegistryServer;
use crate::error::Error;
use crate::inbox::{InboxCore, WatchOptions};
use crate::reclaim::Guard;
use crate::server::Caller;
use crate::store::{Cursor, Key, Unread, Watch, Watched, Watching, KEY_LIMIT};
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
        if options.prefix.len() > KEY_LIMIT {
            return Err(Error::InvalidArgument("a key has at most 65536 bytes"));
        }
        let (covered, wanted) = (options.covered()?, options.wanted());
        inbox.watch(&self.as_any(), |reference, inbox| {
            self.await_own_casts(caller)?;
            let watch = |inbox| {
                self.with_write_lock(caller, |write| {
                    write.exclusive().watch(reference, covered, inbox)
                })
            };
            let registry: Weak<RegistryServer> = Arc::downgrade(self);
            Ok(Cursor::new(registry, watch(inbox)??, wanted))
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
