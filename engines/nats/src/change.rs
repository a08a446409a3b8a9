//! A change as it goes over the wire.
//!
//! # The argument
//!
//! A change is waiting, handed over or withdrawn: one atomic number, which `Handing` is. Who gives
//! up withdraws it, which succeeds if it waits; then no task hands it over any more, and the
//! answer is KVREG_TIMEOUT. Else it may be done, now or later: KVREG_OUTCOME_UNKNOWN. A task may
//! say that it waits again, when the server told that it has not got it, or that it was refused
//! for now, unless an earlier attempt was left without an answer.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::abi;
use crate::entry::{OPERATION, TTL};
use crate::failure::Failure;
use crate::keys::Names;
use crate::value::{Value, TYPE};
use crate::world::world;

/// The most changes in a batch.
pub(crate) const MAX_BATCH: usize = 1000;

const WAITING: u8 = 0;
const HANDED: u8 = 1;
const WITHDRAWN: u8 = 2;

#[derive(Default)]
pub(crate) struct Handing(AtomicU8);

impl Handing {
    /// Notes that it is handed over; answers whether it was before. `None`: it was withdrawn.
    pub(crate) fn begin(&self) -> Option<bool> {
        let (order, handed) = (Ordering::AcqRel, HANDED);
        match self
            .0
            .compare_exchange(WAITING, handed, order, Ordering::Acquire)
        {
            Ok(_) => Some(false),
            Err(HANDED) => Some(true),
            Err(_) => None,
        }
    }

    /// It is not, after all.
    pub(crate) fn take_back(&self) {
        let order = Ordering::AcqRel;
        let _ = self
            .0
            .compare_exchange(HANDED, WAITING, order, Ordering::Acquire);
    }

    /// What is answered to who gives up.
    pub(crate) fn give_up(&self) -> Failure {
        let order = Ordering::AcqRel;
        match self
            .0
            .compare_exchange(WAITING, WITHDRAWN, order, Ordering::Acquire)
        {
            Err(HANDED) => Failure::unknown(),
            _ => Failure::timeout(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Condition {
    None,
    /// The key has this revision.
    Revision(u64),
    /// The key is absent: its subject has no message, or a marker.
    Absent,
}

/// The change of one key.
pub(crate) struct Part {
    pub(crate) subject: String,
    pub(crate) condition: Condition,
    /// All but those of the id and the condition.
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    pub(crate) id: String,
}

impl Part {
    pub(crate) fn put(
        names: &Names,
        key: &[u8],
        value: Value,
        expires_ms: i64,
        condition: Condition,
    ) -> Result<Part, Failure> {
        let mut headers = HeaderMap::new();
        let (kind, payload) = value.encode();
        headers.insert(TYPE, kind);
        if expires_ms >= 0 {
            headers.insert(TTL, format!("{}s", seconds_until(expires_ms)));
        }
        Part::new(names, key, headers, payload, condition)
    }

    pub(crate) fn delete(names: &Names, key: &[u8], condition: Condition) -> Result<Part, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        Part::new(names, key, headers, Bytes::new(), condition)
    }

    fn new(
        names: &Names,
        key: &[u8],
        headers: HeaderMap,
        payload: Bytes,
        condition: Condition,
    ) -> Result<Part, Failure> {
        Ok(Part {
            subject: names.subject(key)?,
            condition,
            headers,
            payload,
            id: world().new_id(),
        })
    }

    pub(crate) fn has_ttl(&self) -> bool {
        self.headers.get(TTL).is_some()
    }
}

/// Rounded up; at least one.
fn seconds_until(expires_ms: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = expires_ms.saturating_sub(now.as_millis() as i64).max(1);
    left / 1000 + i64::from(left % 1000 > 0)
}

/// Changes that are done together, or not at all.
pub(crate) struct Change {
    pub(crate) parts: Vec<Part>,
    pub(crate) handing: Handing,
}

impl Change {
    /// `abilities` are those of the store.
    pub(crate) fn new(parts: Vec<Part>, abilities: u64) -> Result<Change, Failure> {
        let has_ttl = parts.iter().any(Part::has_ttl);
        if has_ttl && abilities & abi::TTL == 0 {
            return Err(Failure::unsupported("the stream has no times to live"));
        }
        if parts.len() > 1 && abilities & abi::BATCHES == 0 {
            return Err(Failure::unsupported("the stream has no batches"));
        }
        if parts.len() > MAX_BATCH {
            let text = "a batch of nats: has at most 1,000 changes";
            return Err(Failure::new(abi::LIMIT, text));
        }
        Ok(Change {
            parts,
            handing: Handing::default(),
        })
    }

    /// The key of it is one, and may be anything before.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(&*self.parts, [part] if part.condition == Condition::None)
    }
}
