//! For tests: a disk that refuses, and one that tells what it was asked for.

use std::cell::Cell;
use std::io;
use std::sync::Mutex;

use crate::backend::Op;

/// Of the operations of this kind the one with this number fails, and those after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) op: Op,
    /// So many go well before.
    pub(crate) after: u32,
    /// So many fail then.
    pub(crate) times: u32,
    pub(crate) os_error: i32,
}

/// What a disk did, in its order.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
    /// So much was answered to who wrote: a test's own note.
    Answered(usize),
}

thread_local! {
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// What this thread opens from now on tells what it did, from its beginning on.
pub(crate) fn tell(tells: bool) {
    TELLS.set(tells);
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    refused: u32,
    /// None, if it does not tell.
    done: Option<Vec<Done>>,
}

#[derive(Debug)]
pub(crate) struct Chaos(Mutex<State>);

impl Default for Chaos {
    fn default() -> Chaos {
        Chaos(Mutex::new(State {
            done: TELLS.get().then(Vec::new),
            ..State::default()
        }))
    }
}

impl Chaos {
    pub(crate) fn note(&self, done: impl FnOnce() -> Done) {
        if let Some(all) = &mut self.0.lock().unwrap().done {
            all.push(done());
        }
    }

    pub(crate) fn done(&self) -> Vec<Done> {
        self.0.lock().unwrap().done.clone().unwrap_or_default()
    }

    pub(crate) fn set(&self, plan: Option<Plan>) {
        self.0.lock().unwrap().plan = plan;
    }

    /// How often it refused.
    pub(crate) fn refused(&self) -> u32 {
        self.0.lock().unwrap().refused
    }

    pub(crate) fn meet(&self, op: Op) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let Some(plan) = state
            .plan
            .as_mut()
            .filter(|plan| plan.op == op && plan.times > 0)
        else {
            return Ok(());
        };
        if plan.after > 0 {
            plan.after -= 1;
            return Ok(());
        }
        plan.times -= 1;
        let os_error = plan.os_error;
        state.refused += 1;
        Err(io::Error::from_raw_os_error(os_error))
    }
}
