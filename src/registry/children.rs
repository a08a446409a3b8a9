//! How a registry's children come: buckets and user's servers are started under its `WRITE`, each
//! with its name, and counted by their sort.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::{Message, RegistryServer, RegistryState};
use crate::bucket::{BucketOptions, BucketServer, BucketSpec, BucketState};
use crate::error::Error;
use crate::memory;
use crate::server::{Budget, Caller, ChildSpec, NamedServer, Parent, Place, Writing};
use crate::sync::lock;
use crate::user_server::{UserServer, UserServerSpec, UserServerState};

impl RegistryServer {
    /// How a bucket with these options is started here.
    pub(crate) fn spec_of(&self, options: BucketOptions) -> Arc<BucketSpec> {
        let state = self.state();
        Arc::new(BucketSpec {
            options,
            around: state.around.of_buckets,
            revisions: state.spec.revisions.clone(),
            owner: state.spec.owner,
        })
    }

    /// The bucket of that name, started if there is none; `exclusive`: only if there is none.
    /// The specification is for one that is started now; the registry has one of its own.
    pub(crate) fn create(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        exclusive: bool,
        spec: Option<Arc<BucketSpec>>,
    ) -> Result<Arc<BucketServer>, Error> {
        loop {
            let (bucket, is_new) = self.call(caller, |write| {
                let spec = spec.clone().map(|spec| spec as _);
                match self.create_now(write, name, spec, Sort::Bucket, Begins::WithTurn)? {
                    (child, false) if exclusive => {
                        bucket_of(&child)?;
                        Err(Error::AlreadyStarted)
                    }
                    (child, is_new) => Ok((bucket_of(&child)?, is_new)),
                }
            })??;
            if bucket.is_open() {
                return Ok(bucket);
            }
            // Outside the registry's turn: a store may take its time.
            if is_new {
                bucket.open_first(caller, bucket.first_turn())?;
                return Ok(bucket);
            }
            match bucket.await_open(caller) {
                Ok(()) => return Ok(bucket),
                Err(Error::ServerDown) => {} // as in `lookup`
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The user's server of that name, and whether it was started now: then its first turn is the
    /// caller's. The specification is for one that is started now.
    pub(crate) fn start_server(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
        spec: Arc<UserServerSpec>,
    ) -> Result<(Arc<UserServer>, bool), Error> {
        self.call(caller, |write| {
            let (sort, begins) = (Sort::Server, Begins::WithTurn);
            let started = self.create_now(write, name, Some(spec as _), sort, begins);
            let (child, is_new) = started?;
            Ok((server_of(&child)?, is_new))
        })?
    }

    /// Sees to it that there is a bucket of that name, without an answer and without waiting.
    pub(crate) fn create_cast(self: &Arc<Self>, name: &str) -> Result<(), Error> {
        self.cast(Message::Create(name.into(), None))
    }

    /// The child, and whether it was started now.
    pub(super) fn create_now(
        self: &Arc<Self>,
        write: &Writing<'_, RegistryState>,
        name: &str,
        spec: Option<Arc<dyn ChildSpec>>,
        sort: Sort,
        begins: Begins,
    ) -> Result<(NamedServer, bool), Error> {
        let state = write.state();
        match write.exclusive().find(name) {
            Ok(found) => return Ok((found, false)),
            Err(Error::NotFound) => {}
            Err(_) => return Err(Error::ServerDown),
        }
        let children = write.exclusive().count()? + 1;
        memory::without_reserve(|| lock(&state.leaving).try_reserve(children))
            .map_err(|_| Error::NoMemory)?;
        state.count_in(sort)?;
        let spec = spec.unwrap_or_else(|| Arc::clone(&state.spec) as _);
        let parent: Weak<dyn Parent> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn Parent>));
        let place = Place::new(parent, name, spec, state.bytes.clone());
        let place = match begins {
            Begins::WithTurn => place,
            Begins::Alone => place.alone(),
        };
        match write.exclusive().put(place) {
            Ok(child) => Ok((child, true)),
            Err(error) => {
                state.count_out(sort);
                Err(error)
            }
        }
    }
}

impl RegistryState {
    fn limit_of(&self, sort: Sort) -> Option<&Arc<Budget>> {
        match sort {
            Sort::Bucket => self.buckets.as_ref(),
            Sort::Server => self.servers.as_ref(),
        }
    }

    /// A child more, if there may be one.
    fn count_in(&self, sort: Sort) -> Result<(), Error> {
        let limit = self.limit_of(sort);
        limit.map_or(Ok(()), |limit| limit.change(0, 1))?;
        if sort == Sort::Server {
            self.server_names.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// A child less.
    pub(super) fn count_out(&self, sort: Sort) {
        if let Some(limit) = self.limit_of(sort) {
            limit.give_back(1);
        }
        if sort == Sort::Server {
            self.server_names.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// How a child begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With the first turn of who starts it.
    WithTurn,
    /// Nobody waits for it.
    Alone,
}

/// Which sort of child has a name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Bucket,
    Server,
}

impl Sort {
    pub(super) fn of(child: &NamedServer) -> Sort {
        match child.is_kind::<BucketState>() {
            true => Sort::Bucket,
            false => Sort::Server,
        }
    }
}

pub(super) fn server_of(child: &NamedServer) -> Result<Arc<UserServer>, Error> {
    let server = child.as_kind::<UserServerState>().ok_or(Error::WrongKind)?;
    Ok(Arc::clone(&server))
}

/// The child as what it is asked for.
pub(super) fn bucket_of(child: &NamedServer) -> Result<Arc<BucketServer>, Error> {
    let bucket = child.as_kind().ok_or(Error::WrongKind)?;
    Ok(Arc::clone(&bucket))
}
