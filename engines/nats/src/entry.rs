//! What a message of a stream says of its key.

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::times::ttl_ms;
use crate::value::{Value, TYPE};

pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The id of a change in a batch, where the server has no message ids in these.
pub(crate) const OWN_ID: &str = "Kvreg-Id";
pub(crate) const TTL: &str = "Nats-TTL";
pub(crate) const OPERATION: &str = "KV-Operation";
const MARKER_REASON: &str = "Nats-Marker-Reason";

/// What became of the key by a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Put,
    Delete,
    Expire,
}

/// A message of a stream.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    /// When it was stored, in milliseconds since 1970.
    pub(crate) time_ms: i64,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Stored {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|it| it.as_str())
    }

    pub(crate) fn kind(&self) -> Kind {
        match (self.header(MARKER_REASON), self.header(OPERATION)) {
            (Some("MaxAge"), _) => Kind::Expire,
            (Some(_), _) | (None, Some("DEL" | "PURGE")) => Kind::Delete,
            _ => Kind::Put,
        }
    }

    /// Whether the change of this id stored it.
    pub(crate) fn is_of(&self, id: &str) -> bool {
        [MESSAGE_ID, OWN_ID]
            .iter()
            .any(|name| self.header(name) == Some(id))
    }

    /// When the key goes, in milliseconds since 1970; -1: never. `max_age_ms` is the stream's, or 0.
    pub(crate) fn expires_ms(&self, max_age_ms: i64) -> i64 {
        let own = self.header(TTL).and_then(ttl_ms);
        let of_stream = (max_age_ms > 0).then_some(max_age_ms);
        let least = own.into_iter().chain(of_stream).min();
        least.map_or(-1, |ttl| self.time_ms.saturating_add(ttl))
    }

    pub(crate) fn value(&self) -> Value {
        Value::decode(self.header(TYPE), self.payload.clone())
    }
}

/// Headers as they are on the wire, `NATS/1.0` and a line for each.
pub(crate) fn headers_of(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let text = String::from_utf8_lossy(bytes);
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name: Result<async_nats::HeaderName, _> = name.parse();
        let value: Result<async_nats::HeaderValue, _> = value.trim().parse();
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
