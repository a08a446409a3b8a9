//! JetStream's requests and answers, which are JSON, and its numbers of errors.

use std::borrow::Cow;

use async_nats::Message;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use bytes::Bytes;
use serde::Deserialize;

use crate::abi::{self, Status};
use crate::entry::{headers_of, Stored};
use crate::failure::Failure;
use crate::times::moment_ms;

pub(crate) const STREAM_NOT_FOUND: u32 = 10059;
pub(crate) const NAME_IN_USE: u32 = 10058;
const NO_MESSAGE: u32 = 10037;
/// The key has another revision.
const WRONG_SEQUENCE: [u32; 2] = [10071, 10164];
/// A repeat came while the first one is being stored.
pub(crate) const ID_IN_PROCESS: u32 = 10158;
/// A batch has an id of a change that is stored.
pub(crate) const ID_IN_BATCH: u32 = 10201;
/// A header that batches cannot have on this server.
pub(crate) const HEADER_IN_BATCH: u32 = 10177;
/// Part of a batch was lost on the way: nothing of it is done.
pub(crate) const BATCH_INCOMPLETE: u32 = 10176;
/// No leader yet, a stream that is not there yet on this server, too much to do.
const NOT_NOW: [u32; 8] = [10005, 10007, 10008, 10009, 10118, 10167, 10210, 10211];
const LIMITS: [u32; 8] = [10023, 10028, 10047, 10052, 10054, 10077, 10097, 10199];
const UNSUPPORTED: [u32; 5] = [10165, 10166, 10174, 10175, 10198];

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Error {
    #[serde(default)]
    pub(crate) err_code: u32,
    #[serde(default)]
    pub(crate) description: String,
}

impl Error {
    /// It may do it soon.
    pub(crate) fn is_not_now(&self) -> bool {
        NOT_NOW.contains(&self.err_code)
    }

    pub(crate) fn is_conflict(&self) -> bool {
        WRONG_SEQUENCE.contains(&self.err_code)
    }

    fn status(&self) -> Status {
        match self.err_code {
            it if LIMITS.contains(&it) => abi::LIMIT,
            it if UNSUPPORTED.contains(&it) => abi::UNSUPPORTED,
            _ => abi::IO,
        }
    }

    pub(crate) fn failure(&self) -> Failure {
        let text = format!("the server says: {} ({})", self.description, self.err_code);
        Failure::new(self.status(), text)
    }
}

/// An answer is either what was asked for, or an error.
pub(crate) trait Answer: Sized {
    fn error(&mut self) -> Option<Error>;
}

macro_rules! answers {
    ($($name:ident)*) => {$(
        impl Answer for $name {
            fn error(&mut self) -> Option<Error> {
                self.error.take()
            }
        }
    )*};
}

answers!(Published StreamInfo ConsumerInfo Deleted);

/// That a message is stored.
#[derive(Debug, Deserialize)]
pub(crate) struct Published {
    error: Option<Error>,
    #[serde(default)]
    pub(crate) seq: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Deleted {
    error: Option<Error>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamInfo {
    error: Option<Error>,
    #[serde(default)]
    pub(crate) created: String,
    #[serde(default)]
    pub(crate) config: StreamConfig,
    #[serde(default)]
    pub(crate) state: StreamState,
    cluster: Option<ClusterInfo>,
}

impl StreamInfo {
    /// A stream of several servers may have no leader.
    pub(crate) fn has_leader(&self) -> bool {
        self.cluster.as_ref().is_none_or(|it| !it.leader.is_empty())
    }
}

#[derive(Debug, Deserialize)]
struct ClusterInfo {
    #[serde(default)]
    leader: String,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamConfig {
    #[serde(default)]
    pub(crate) subjects: Vec<String>,
    /// Nanoseconds.
    #[serde(default)]
    pub(crate) max_age: u64,
    #[serde(default)]
    pub(crate) duplicate_window: u64,
    #[serde(default)]
    pub(crate) allow_msg_ttl: bool,
    #[serde(default)]
    pub(crate) subject_delete_marker_ttl: u64,
    #[serde(default)]
    pub(crate) allow_atomic: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamState {
    #[serde(default)]
    pub(crate) first_seq: u64,
    #[serde(default)]
    pub(crate) last_seq: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ConsumerInfo {
    error: Option<Error>,
    #[serde(default)]
    pub(crate) name: String,
}

/// `None`: it is none of this kind, or what is wrong.
pub(crate) fn read<T>(message: &Message) -> Result<T, Error>
where
    T: Answer + for<'de> Deserialize<'de>,
{
    let mut answer: T = serde_json::from_slice(&message.payload).map_err(unreadable)?;
    answer.error().map_or(Ok(answer), Err)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error {
        err_code: 0,
        description: format!("an answer that is none: {error}"),
    }
}

#[derive(Deserialize)]
struct GotMessage<'a> {
    error: Option<Error>,
    #[serde(borrow)]
    message: Option<RawMessage<'a>>,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    subject: Cow<'a, str>,
    seq: u64,
    #[serde(borrow, default)]
    hdrs: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

/// A message that was asked for; `None` if there is none.
pub(crate) fn read_message(message: &Message) -> Result<Option<Stored>, Error> {
    let got: GotMessage<'_> = serde_json::from_slice(&message.payload).map_err(unreadable)?;
    match (got.error, got.message) {
        (Some(error), _) if error.err_code == NO_MESSAGE => Ok(None),
        (Some(error), _) => Err(error),
        (None, None) => Ok(None),
        (None, Some(raw)) => {
            let decoded = |text: &str| STANDARD.decode(text).unwrap_or_default();
            Ok(Some(Stored {
                subject: raw.subject.into_owned(),
                sequence: raw.seq,
                time_ms: moment_ms(&raw.time).unwrap_or(0),
                headers: headers_of(&decoded(&raw.hdrs)),
                payload: Bytes::from(decoded(&raw.data)),
            }))
        }
    }
}
