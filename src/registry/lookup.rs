//! What is asked of a registry: which child has a name, which names there are, and how it fares.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::children::{bucket_of, server_of, Sort};
use super::RegistryServer;
use crate::bucket::BucketServer;
use crate::error::Error;
use crate::reason::Reason;
use crate::reclaim::Guard;
use crate::server::{Caller, NamedServer};
use crate::sync::raw_arc::Lent;
use crate::user_server::UserServer;

/// What there is to know about a registry.
///
/// ```
/// let registry = kvreg::Registry::start()?;
/// registry.create("shopping")?.put("milk", 1)?;
/// let info = registry.info()?;
/// assert_eq!((info.buckets, info.keys), (1, 1));
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryInfo {
    /// Buckets that have a name.
    pub buckets: usize,
    /// Keys of all buckets, while each is looked at.
    pub keys: usize,
    /// Bytes of keys and values of all buckets, while each is looked at.
    pub bytes: usize,
    /// Messages that wait at the registry itself.
    pub mailbox: usize,
    /// Messages that it handled itself: creations, removals, infos; not lookups.
    pub handled: u64,
    /// How often it crashed and came back.
    pub restarts: u64,
    /// Why it ended the last time it did.
    pub last_exit: Option<Reason>,
}

impl RegistryServer {
    /// The bucket that has the name now. Waits only for casts of the calling thread.
    pub(crate) fn lookup(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<Arc<BucketServer>, Error> {
        self.await_own_casts(caller)?;
        loop {
            let bucket = bucket_of(&self.state().names.find(name)?)?;
            match bucket.await_open(caller) {
                Ok(()) => return Ok(bucket),
                // It ended as it began: the name leads to another one by now, or to none.
                Err(Error::ServerDown) => {}
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The short way, where casts of the calling thread are not waiting: `None` if anything is
    /// out of the ordinary, as a name that is not there. Does not panic.
    #[inline(always)]
    pub(crate) fn fast_lookup<'g>(
        &'g self,
        name: &[u8],
        pinned: &'g Guard,
    ) -> Option<Lent<'g, BucketServer>> {
        let found: Lent<'g, BucketServer> =
            self.state().names.fast_find(name, pinned)?.as_kind()?;
        found.is_open().then_some(found)
    }

    /// The user's server that has the name now. Waits only for casts of the calling thread.
    pub(crate) fn lookup_server(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<Arc<UserServer>, Error> {
        self.await_own_casts(caller)?;
        server_of(&self.state().names.find(name)?)
    }

    pub(crate) fn info(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<RegistryInfo, Error> {
        self.await_own_casts(caller)?;
        let buckets = self.with_write_lock(caller, |write| write.exclusive().all_buckets())??;
        let supervisor = self.state().supervisor.upgrade();
        let (restarts, last_exit) = supervisor.map_or((0, None), |it| it.history());
        let sizes = buckets.iter().map(|bucket| bucket.size());
        let (keys, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        Ok(RegistryInfo {
            buckets: buckets.len(),
            keys,
            bytes,
            mailbox: self.mailbox_len(),
            handled: self.handled(),
            restarts,
            last_exit,
        })
    }

    pub(crate) fn count(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<usize, Error> {
        self.await_own_casts(caller)?;
        let state = self.state();
        let all = state.names.count()?;
        if state.server_names.load(Ordering::SeqCst) == 0 {
            return Ok(all);
        }
        self.with_write_lock(caller, |_| {
            let servers = state.server_names.load(Ordering::SeqCst);
            Ok(state.names.count()?.saturating_sub(servers))
        })?
    }

    /// A snapshot of the names of one sort.
    pub(crate) fn names(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        sort: Sort,
    ) -> Result<Vec<String>, Error> {
        self.await_own_casts(caller)?;
        let is_such = |child: &NamedServer| Sort::of(child) == sort;
        let names = self.with_write_lock(caller, |write| write.exclusive().names(is_such))??;
        Ok(names)
    }
}
