//! What the server core asks of the process: here each drain is a thread of the model, so
//! that the checker tries every moment for it.

use crate::circle::Circles;
use crate::error::Error;

pub(crate) struct Process {
    circles: Circles,
}

impl Process {
    pub(crate) fn new() -> &'static Process {
        let circles = Circles::new();
        Box::leak(Box::new(Process { circles }))
    }

    pub(crate) fn circles(&self) -> &Circles {
        &self.circles
    }

    /// Nothing forks here.
    pub(crate) fn is_current(&self) -> bool {
        true
    }

    pub(crate) fn after_user_code(&self) {}

    pub(crate) fn start_runtime(&self) -> Result<(), Error> {
        Ok(())
    }

    pub(crate) fn spawn(&self, drain: impl FnOnce() + 'static) {
        loom::thread::spawn(drain);
    }

    /// The drain's own thread will do: the runtime's handing over to another one is not part
    /// of the core.
    pub(crate) fn spawn_blocking(&self, drain: impl FnOnce() + 'static) {
        drain();
    }
}
