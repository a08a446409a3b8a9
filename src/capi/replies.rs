//! `kvreg_reply_*`: answers that come later.

use std::sync::{Arc, Mutex};

use super::argument::invalid;
use super::guard::guard;
use super::handles::free;
use super::kinds::kvreg_reply;
use super::object::{with_needs_of, Needs};
use super::status::{kvreg_status, kvreg_verdict, Failure, Status};
use super::update::{ABORT, KEEP};
use super::value::kvreg_value;
use crate::error::Error;
use crate::sync::lock;
use crate::user_server::{Answer, Pending, Refusal, UserServer};
use crate::value::{Text, Value, ValueRef};

/// A caller who waits, until it is answered.
pub(super) struct Deferred(Mutex<Option<(Arc<UserServer>, Arc<Pending>)>>);

impl Deferred {
    pub(super) fn new(server: Arc<UserServer>, pending: Arc<Pending>) -> Arc<Deferred> {
        Arc::new(Deferred(Mutex::new(Some((server, pending)))))
    }

    /// `false` if nobody waits any more.
    fn answer(&self, answer: Answer) -> bool {
        let waits = lock(&self.0).take();
        waits.is_some_and(|(server, pending)| server.answer_later(&pending, answer))
    }

    /// Nothing will be said: refused.
    pub(super) fn give_up(&self) {
        self.answer(Err(Refusal::from(Error::Aborted)));
    }
}

/// Answers a call that was put off, and frees the handle, whatever it answers. `verdict` is
/// KVREG_KEEP, with the answer in `value`, or KVREG_ABORT, with a text that says why, or NULL; any
/// other is KVREG_INVALID_ARGUMENT, and an answer that is no value too: then the caller gets
/// KVREG_ABORTED. The answer is KVREG_NO_PROCESS if nobody waits any more: the caller has left, or
/// its server has ended. Any thread may call it. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_reply_send(
    reply: *mut kvreg_reply,
    verdict: kvreg_verdict,
    value: *const kvreg_value,
) -> kvreg_status {
    guard("kvreg_reply_send", || {
        let sent = with_needs_of(Needs::Nothing, reply, |deferred, caller| {
            caller.unpin();
            // SAFETY: null, or a value whose text is good for its length.
            let given = unsafe { value.as_ref() }.map(|value| unsafe { value.get() });
            let (answer, refused) = match (verdict, given) {
                (KEEP, Some(Ok(value))) => match Value::new(value) {
                    Ok(value) => (Ok(value), None),
                    Err(error) => (Err(error.clone().into()), Some(Failure::from(error))),
                },
                (KEEP, Some(Err(failure))) => (refusal(None), Some(failure)),
                (KEEP, None) => (Ok(Value::Nil), None),
                (ABORT, Some(Ok(ValueRef::String(text)))) => (refusal(Some(text)), None),
                (ABORT, _) => (refusal(None), None),
                _ => (refusal(None), Some(invalid("an unknown verdict"))),
            };
            let is_awaited = deferred.answer(answer);
            match refused {
                Some(failure) => Err(failure),
                None if is_awaited => Ok(()),
                None => Err(Status::NoProcess.into()),
            }
        });
        let freed = free(reply);
        sent.and(freed)
    })
}

fn refusal(text: Option<&str>) -> Answer {
    Err(Refusal {
        error: Error::Aborted,
        text: text.and_then(|text| Text::copy(text.as_bytes()).ok()),
    })
}

/// Frees the handle. If no answer was sent the caller gets KVREG_ABORTED. NULL is fine. Never
/// blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_reply_free(reply: *mut kvreg_reply) -> kvreg_status {
    guard("kvreg_reply_free", || free(reply))
}
