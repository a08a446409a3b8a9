//! The registries that have a name of their own in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::Supervisor;
use crate::error::Error;
use crate::sync::lock;

/// The registries that have a name: what a C host and a plug-in meet by. A name keeps its
/// registry running without a handle, until it stops.
#[derive(Default)]
pub(crate) struct RegisteredNames(Mutex<BTreeMap<String, Arc<Supervisor>>>);

impl RegisteredNames {
    pub(super) fn register(&self, name: &str, supervisor: &Arc<Supervisor>) -> Result<(), Error> {
        let mut names = lock(&self.0);
        if names.contains_key(name) {
            return Err(Error::AlreadyStarted);
        }
        names.insert(name.to_owned(), Arc::clone(supervisor));
        Ok(())
    }

    /// Another handle is about to be made for what is found.
    pub(crate) fn whereis(&self, name: &str) -> Result<Arc<Supervisor>, Error> {
        let names = lock(&self.0);
        names.get(name).map(Arc::clone).ok_or(Error::NotFound)
    }

    /// Takes the name out if it leads there.
    pub(super) fn forget(&self, supervisor: &Supervisor) {
        let Some(name) = supervisor.name() else {
            return;
        };
        let forgotten = {
            let mut names = lock(&self.0);
            let leads_there = names
                .get(name)
                .is_some_and(|found| std::ptr::eq(Arc::as_ptr(found), supervisor));
            if leads_there {
                names.remove(name)
            } else {
                None
            }
        };
        drop(forgotten); // outside the lock: it may be the last to know the registry
    }

    pub(crate) fn all(&self) -> Vec<Arc<Supervisor>> {
        lock(&self.0).values().cloned().collect()
    }
}
