//! Answers: each request names a subject of its own for them, under the one inbox of its session.
//!
//! The subject is short, for `keys.rs`: `_INBOX.`, 13 letters, a dot, and a number of at most 11
//! letters; with spaces and two sizes that is what may be beside a subject on a line.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_nats::Message;
use tokio::sync::oneshot;

const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A number that nobody else has. A child of a fork has the same state of the generator, but not
/// the same number of the process.
pub(crate) fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    hasher.write_u128(now.unwrap_or_default().as_nanos());
    hasher.finish()
}

/// A number in letters, at least `width` of them.
pub(crate) fn letters(mut number: u128, width: usize) -> String {
    let mut text = Vec::new();
    while number > 0 || text.len() < width {
        text.push(LETTERS[(number % 62) as usize]);
        number /= 62;
    }
    String::from_utf8(text).unwrap_or_default()
}

pub(crate) struct Replies {
    /// With the dot.
    prefix: String,
    number: AtomicU64,
    expected: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
}

impl Replies {
    pub(crate) fn new() -> Replies {
        let number = (u128::from(random()) << 64 | u128::from(random())) % 62u128.pow(13);
        Replies {
            prefix: format!("_INBOX.{}.", letters(number, 13)),
            number: AtomicU64::new(0),
            expected: Mutex::default(),
        }
    }

    /// All of its subjects.
    pub(crate) fn all(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// A subject, and what comes to it.
    pub(crate) fn expect(self: &Arc<Replies>) -> Reply {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.expected().insert(number, sender);
        Reply {
            subject: format!("{}{}", self.prefix, letters(number.into(), 1)),
            receiver,
            number,
            replies: Arc::clone(self),
        }
    }

    pub(crate) fn deliver(&self, message: Message) {
        let token = message.subject.strip_prefix(&*self.prefix);
        let Some(number) = token.and_then(number_of) else {
            return;
        };
        let sender = self.expected().remove(&number);
        if let Some(sender) = sender {
            let _ = sender.send(message); // or nobody waits any more
        }
    }

    fn expected(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Message>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `letters` wrote.
fn number_of(text: &str) -> Option<u64> {
    text.bytes().rev().try_fold(0u64, |sum, letter| {
        let digit = LETTERS.binary_search(&letter).ok()? as u64;
        sum.checked_mul(62)?.checked_add(digit)
    })
}

/// An answer that is expected.
pub(crate) struct Reply {
    pub(crate) subject: String,
    pub(crate) receiver: oneshot::Receiver<Message>,
    number: u64,
    replies: Arc<Replies>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.replies.expected().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_letters_and_back() {
        for number in [0, 1, 61, 62, 1 << 40, u64::MAX] {
            let text = letters(number.into(), 1);
            assert!(text.len() <= 11);
            assert_eq!(number_of(&text), Some(number));
        }
        assert_eq!(number_of("-"), None);
        assert_eq!(number_of("zzzzzzzzzzzzz"), None);
    }
}
