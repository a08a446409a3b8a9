//! tokio's runtime, on threads of kvreg's. It is made by the first worker: on a thread of the
//! host's it would leave something behind.

use std::io;
use std::panic::catch_unwind;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

use super::alive::Alive;
use super::spawn::Started;
use super::Drains;
use crate::sync::lock;

/// Taken only when it is dropped.
pub(super) struct Driver(Option<Runtime>);

/// What the first worker tells whoever started it.
type Answer = (Mutex<Option<io::Result<Arc<Driver>>>>, Condvar);

/// The first worker, and what it made.
pub(super) fn start(
    name: &str,
    alive: &Arc<Alive>,
    drains: &Arc<Drains>,
) -> io::Result<(Arc<Driver>, Started)> {
    let answer = Arc::<Answer>::default();
    let (told, drains) = (Arc::clone(&answer), Arc::clone(drains));
    let worker = alive.spawn(name, move || {
        let made = Driver::new().map(Arc::new);
        let mine = made.as_ref().ok().map(Arc::clone);
        *lock(&told.0) = Some(made);
        told.1.notify_one();
        if let Some(driver) = mine {
            driver.serve(&drains);
        }
    })?;
    let told = answer.1.wait_while(lock(&answer.0), |told| told.is_none());
    let made = told.unwrap_or_else(PoisonError::into_inner).take();
    match made {
        Some(Ok(driver)) => Ok((driver, worker)),
        refused => {
            worker.join(); // it has only to return
            Err(refused
                .and_then(Result::err)
                .unwrap_or_else(|| io::ErrorKind::Other.into()))
        }
    }
}

impl Driver {
    fn new() -> io::Result<Driver> {
        let build = || Builder::new_current_thread().enable_all().build();
        let built = catch_unwind(build).unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        Ok(Driver(Some(built?)))
    }

    fn tokio(&self) -> &Runtime {
        self.0.as_ref().expect("taken only when it is dropped")
    }

    pub(super) fn handle(&self) -> &Handle {
        self.tokio().handle()
    }

    pub(super) fn serve(&self, drains: &Drains) {
        self.tokio().block_on(drains.serve());
    }
}

impl Drop for Driver {
    /// Wherever the last thread drops it, in a task of the host's own tokio too: that must not
    /// wait there, and need not, for it has no threads.
    fn drop(&mut self) {
        if let Some(tokio) = self.0.take() {
            tokio.shutdown_background();
        }
    }
}
