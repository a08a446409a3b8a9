//! What each thread has: here the model's own storage.

use crate::spare::Spares;
use crate::thread::Own;

pub(crate) struct Local {
    pub(crate) spares: Spares,
    pub(crate) thread: Own,
}

impl Local {
    fn new() -> Local {
        Local {
            spares: Spares::new(),
            // SAFETY: how it begins.
            thread: unsafe { std::mem::zeroed() },
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.thread.release();
    }
}

loom::thread_local! {
    static LOCAL: Local = Local::new();
}

/// The library's own lasts as long as the thread; here what is last to go finds an empty one.
pub(crate) fn with<R>(work: impl FnOnce(&Local) -> R) -> R {
    let mut work = Some(work);
    let done = LOCAL.try_with(|local| work.take().map(|work| work(local)));
    match (done, work) {
        (Ok(Some(answer)), _) => answer,
        (_, Some(work)) => work(&Local::new()),
        _ => unreachable!("it was run"),
    }
}
