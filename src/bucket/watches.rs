//! A bucket as watches see it.

use std::sync::{Arc, Weak};

use super::BucketServer;
use crate::error::Error;
use crate::inbox::{InboxCore, WatchOptions};
use crate::reclaim::Guard;
use crate::server::Caller;
use crate::store::{Cursor, Key, Unread, Watch, Watched, Watching, KEY_LIMIT};
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
            let bucket: Weak<BucketServer> = Arc::downgrade(self);
            Ok(Cursor::new(bucket, watch(inbox)??, wanted))
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

    fn known(&self) -> u64 {
        self.state().contents.known()
    }

    fn now(&self, key: Key<'_>, with_value: bool) -> Result<Option<(Value, u64)>, Unread> {
        self.state().contents.now(key, with_value)
    }

    fn page(
        &self,
        from: Position,
        enough: usize,
        pinned: &Guard,
        show: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<Position, Error> {
        self.state().contents.page(from, enough, pinned, show)
    }
}
