//! The tasks that wait for an event: woken by who brings one, outside the inbox's lock.

use std::task::{Context, Poll, Waker};

use super::{Event, InboxCore, Taken};
use crate::error::Error;
use crate::server::Thread;
use crate::sync::lock;

/// By a number of each, as long as it waits.
#[derive(Default)]
pub(super) struct Wakers {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

impl Wakers {
    /// Notes a task, in the place that it has already if it has one.
    fn note(&mut self, place: &mut Option<u64>, waker: &Waker) {
        let mut waiting = self.waiting.iter_mut();
        match waiting.find(|(number, _)| Some(*number) == *place) {
            Some((_, there)) => there.clone_from(waker),
            None => {
                self.next += 1;
                *place = Some(self.next);
                self.waiting.push((self.next, waker.clone()));
            }
        }
    }

    pub(super) fn are_none(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All who wait: each looks for itself.
    pub(super) fn take(&mut self) -> Woken {
        Woken(std::mem::take(&mut self.waiting))
    }
}

/// Are woken when this is dropped, which is done without a lock: wakers are the user's code.
#[must_use]
pub(super) struct Woken(Vec<(u64, Waker)>);

impl Drop for Woken {
    fn drop(&mut self) {
        for (_, waker) in self.0.drain(..) {
            waker.wake();
        }
    }
}

impl InboxCore {
    /// The next event, or a place among those that are woken when there is one.
    pub(crate) fn poll_receive(
        &self,
        place: &mut Option<u64>,
        context: &Context<'_>,
    ) -> Poll<Result<Event, Error>> {
        let mut state = match self.open_state() {
            Ok(state) => state,
            Err(error) => return Poll::Ready(Err(error)),
        };
        match state.take() {
            Ok(Taken::Event(event)) => {
                self.pass_on(state);
                return Poll::Ready(Ok(event));
            }
            Ok(Taken::Nothing) => {}
            Ok(Taken::Again { .. }) => {
                drop(state);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
        if Thread::holds_a_turn() {
            return Poll::Ready(Err(Error::CallingSelf));
        }
        let threads = self.system.threads();
        if state.waiting.has_watches() && !threads.are_started() {
            // Who changes a bucket has them wake this task.
            drop(state);
            if let Err(error) = threads.start() {
                return Poll::Ready(Err(error));
            }
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        state.wakers.note(place, context.waker());
        Poll::Pending
    }

    /// Whoever had this place waits no more.
    pub(crate) fn forget_waker(&self, place: Option<u64>) {
        let mut state = lock(&self.state);
        let waiting = &mut state.wakers.waiting;
        let found = waiting
            .iter()
            .position(|(number, _)| Some(*number) == place);
        let forgotten = found.map(|at| waiting.swap_remove(at));
        drop(state);
        drop(forgotten); // outside the lock: it may be the user's
    }
}
