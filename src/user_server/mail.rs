//! What waits in the mailbox of a user's server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use super::pending::{Pending, Refusal};
use crate::error::Error;
use crate::memory;
use crate::reason::Exit;
use crate::server::Ended;
use crate::value::{Value, ValueRef, VALUE_LIMIT};

/// The longest tag, in bytes.
pub(crate) const TAG_LIMIT: usize = 255;

/// The most values of a message.
pub(crate) const VALUES_LIMIT: usize = 255;

/// A tag and values: immutable, and shared.
pub(crate) struct Content {
    /// With a NUL behind it.
    tag: Box<[u8]>,
    values: Box<[Value]>,
}

impl Content {
    pub(crate) fn new<'v>(
        tag: &str,
        values: impl ExactSizeIterator<Item = ValueRef<'v>>,
    ) -> Result<Arc<Content>, Error> {
        let mut copies = Vec::new();
        memory::reserve(&mut copies, values.len())?;
        for value in values {
            copies.push(Value::new(value)?);
        }
        let mut with_nul = Vec::new();
        memory::reserve(&mut with_nul, tag.len() + 1)?;
        with_nul.extend_from_slice(tag.as_bytes());
        with_nul.push(0);
        Ok(Arc::new(Content {
            tag: with_nul.into_boxed_slice(),
            values: copies.into_boxed_slice(),
        }))
    }

    /// The tag, and the NUL behind it.
    pub(crate) fn tag_with_nul(&self) -> &[u8] {
        &self.tag
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Bytes that it counts for.
    pub(super) fn size(&self) -> usize {
        let values = self.values.iter().map(|value| value.as_ref().size());
        self.tag.len() - 1 + values.sum::<usize>()
    }

    /// Refused if a value is longer than this.
    pub(super) fn check(&self, max_value: usize) -> Result<(), Error> {
        let is_long = |value: &Value| value.as_ref().text().len() > max_value.min(VALUE_LIMIT);
        match self.values.iter().any(is_long) {
            true => Err(Error::Limit("bytes of a value")),
            false => Ok(()),
        }
    }
}

/// The bytes that wait in a mailbox.
#[derive(Default)]
pub(super) struct Waiting(AtomicUsize);

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts bytes, unless there would be more than `limit`.
    pub(super) fn count(self: &Arc<Self>, bytes: usize, limit: usize) -> Result<Counted, Error> {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        let counted = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        match counted {
            Ok(_) => Ok(Counted(Arc::clone(self), bytes)),
            Err(_) => Err(Error::Limit("bytes of a mailbox")),
        }
    }
}

/// Bytes that are counted until this is dropped.
pub(super) struct Counted(Arc<Waiting>, usize);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0 .0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// What a server is told.
pub(crate) enum What {
    /// It is to begin: it was started again.
    Init,
    Call(Arc<Content>, Arc<Pending>),
    Cast(Arc<Content>),
    /// And of which timer, or 0.
    Info(Arc<Content>, u64),
    /// A server that it monitors has ended: the reference, and how.
    Down(u64, Arc<Ended>),
    /// It is to end.
    Terminate(Arc<Exit>),
    /// It is to end, reason NORMAL, once what came before was handled.
    Stop(Option<Arc<Pending>>),
}

/// What waits. Who waits for an answer gets one when it is dropped.
pub(crate) struct Mail {
    /// None once it was taken out.
    pub(super) what: Option<What>,
    pub(super) counted: Option<Counted>,
}

impl Mail {
    pub(super) fn new(what: What) -> Mail {
        Mail {
            what: Some(what),
            counted: None,
        }
    }

    pub(super) fn take(mut self) -> Option<What> {
        self.what.take()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        if let Some(What::Call(_, pending) | What::Stop(Some(pending))) = self.what.take() {
            pending.answer(Err(Refusal::from(Error::ServerDown)));
        }
    }
}
