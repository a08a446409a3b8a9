//! For tests: a disk that refuses.

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

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    refused: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Chaos(Mutex<State>);

impl Chaos {
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
