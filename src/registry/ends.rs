//! How a registry's children go: removed, erased, stopped with it, or by an end of their own, after
//! which one may come again.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use super::children::{bucket_of, Sort};
use super::RegistryServer;
use crate::error::Error;
use crate::reason::{Exit, Reason};
use crate::server::{AnyServer, Caller, Decision, Parent, Place, Thread};
use crate::sync::lock;
use crate::time::{Deadline, Timeout};

impl RegistryServer {
    fn decide(&self, place: &Place, reason: Reason) -> Decision {
        // A registry that ends takes its buckets along, for good.
        let is_shut_down = self.system().threads().is_shut_down();
        if place.is_removed() || self.exit_reason().is_some() || is_shut_down {
            return Decision::Leave;
        }
        place.decide(reason, Instant::now())
    }

    /// As `remove`, of a bucket; and erases what a store keeps of it, or of one that had the name:
    /// where the registry's own buckets are. `Error::NotFound` if there is neither.
    pub(crate) fn erase(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<(), Error> {
        self.await_own_casts(caller)?;
        loop {
            let bucket = match self.state().names.find(name) {
                Ok(found) => bucket_of(&found)?,
                Err(Error::NotFound) => {
                    let spec = &self.state().spec;
                    let location = spec.location(name).ok_or(Error::NotFound)?;
                    let deadline = caller.begin_blocking();
                    return spec.around.engines.destroy(&location, &deadline);
                }
                Err(refused) => return Err(refused),
            };
            if !bucket.is_backed() {
                return self.remove(caller, name);
            }
            match bucket.erase(caller) {
                Err(Error::NoProcess) => {} // as in `lookup`
                erased => return erased,
            }
        }
    }

    /// Ends the bucket of that name for good, reason SHUTDOWN, whatever its restart option
    /// (OTP's `terminate_child`). Of several who do so one is told that it did; to the others
    /// there is no such bucket any more.
    pub(crate) fn remove(
        self: &Arc<Self>,
        caller: &mut Caller<'_>,
        name: &str,
    ) -> Result<(), Error> {
        let (child, is_first) = self.call(caller, |write| {
            let found = write.exclusive().find(name);
            let child = found.map_err(|error| match error {
                Error::NoProcess => Error::ServerDown,
                error => error,
            })?;
            let server = child.any();
            if server.wants_end() && server.would_wait_for_caller() {
                return Err(Error::CallingSelf); // it is told first
            }
            let is_first = child.any().place().is_some_and(Place::claim_removal);
            Ok((child, is_first))
        })??;
        let exit = Exit::new(Reason::Shutdown, "removed");
        let server = child.any();
        if is_first && Arc::clone(server).begin_end(&exit) {
            Arc::clone(server).finish_begun_end(&Timeout::Never.deadline());
        }
        // Others too: what they are told is not there must be gone.
        Arc::clone(server).end_at_once(exit);
        match is_first {
            true => Ok(()),
            false => Err(Error::NotFound),
        }
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub(crate) fn stop_all(self: &Arc<Self>, caller: &mut Caller<'_>) -> Result<(), Error> {
        if !self.has_ended() && self.would_stop_caller() {
            return Err(Error::CallingSelf);
        }
        if self.state().server_names.load(Ordering::SeqCst) > 0 {
            let deadline = caller.begin_blocking();
            self.end_servers_in_order(&deadline);
        }
        self.stop(caller)
    }

    /// Ends user's servers that want to know, all at once.
    pub(crate) fn end_servers_in_order(self: &Arc<Self>, deadline: &Deadline) {
        let exit = Exit::new(Reason::Shutdown, "");
        let all = self.with_write_lock_even_ended(|write| write.exclusive().all());
        let mut servers = all.unwrap_or_default();
        servers.retain(|server| {
            if !server.wants_end() {
                return false;
            }
            if let Some(place) = server.place() {
                place.claim_removal(); // it is not started again
            }
            Arc::clone(server).begin_end(&exit)
        });
        for server in servers {
            server.finish_begun_end(deadline);
        }
    }

    /// Whether user code of the calling thread has the turn of one of the buckets, or one of them
    /// waits for that.
    fn would_stop_caller(&self) -> bool {
        if !Thread::holds_a_turn() {
            return false;
        }
        let would_wait = |child: &Arc<dyn AnyServer>| child.would_wait_for_caller();
        self.with_write_lock_even_ended(|write| write.exclusive().any(would_wait))
    }
}

impl Parent for RegistryServer {
    fn child_ends(self: Arc<Self>, child: &Arc<dyn AnyServer>, place: &Place, reason: Reason) {
        let mut again = None;
        let decision = self.with_write_lock_even_ended(|write| {
            let (state, names) = (write.state(), write.exclusive());
            let sort = match names.find(place.name()) {
                Ok(found) if Arc::ptr_eq(found.any(), child) => Sort::of(&found),
                _ => return Ok(Decision::Leave),
            };
            let mut going = lock(&state.going);
            if going.try_reserve(1).is_ok() {
                going.push(Arc::clone(child));
            }
            drop(going);
            let mut decision = Ok(self.decide(place, reason));
            if let Ok(Decision::Restart) = decision {
                match names.put(place.again()) {
                    Ok(child) => {
                        again = Some(child);
                        return decision;
                    }
                    Err(error) => decision = Err(error),
                }
            }
            names.remove(place.name());
            state.count_out(sort);
            decision
        });
        if let Some(again) = again {
            Arc::clone(again.any()).started_again();
        }
        let (logs, name) = (self.logs(), Some(place.name()));
        match decision {
            Ok(Decision::Leave) => {}
            Ok(Decision::Restart) => logs.info(name, "bucket restarted"),
            Ok(Decision::GiveUp) => {
                logs.error(name, "bucket restarted too often: it stays down");
            }
            Err(error) => logs.error_of(name, format_args!("bucket not restarted: {error}")),
        }
    }

    fn child_ended(&self, child: &Arc<dyn AnyServer>) {
        let ended = {
            let mut going = lock(&self.state().going);
            let place = going.iter().position(|it| Arc::ptr_eq(it, child));
            place.map(|place| going.swap_remove(place))
        };
        drop(ended); // outside the lock
    }
}
