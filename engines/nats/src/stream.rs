//! The stream of a bucket: how one is made, and what is known of one that is there.

use serde_json::{json, Value as Json};

use crate::abi;
use crate::api::StreamInfo;
use crate::keys::Names;
use crate::location::Layout;

/// How long a change's id is known to the server.
const DUPLICATES_NS: u64 = 120_000_000_000;
/// How long the marker of a key whose time to live is over stays. A watch that was away for longer
/// is told all anew.
pub(crate) const MARKER_SECONDS: u64 = 300;

/// What kvreg's calls need to know of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) abilities: u64,
    /// 0: keys have no age.
    pub(crate) max_age_ms: i64,
    pub(crate) duplicates_ns: u64,
    /// 0: there are none.
    pub(crate) marker_seconds: u64,
}

impl Facts {
    pub(crate) fn of(info: &StreamInfo) -> Facts {
        let config = &info.config;
        let mut abilities = 0;
        // Without markers a watch would not be told that a key is gone.
        if config.allow_msg_ttl && config.subject_delete_marker_ttl > 0 {
            abilities |= abi::TTL;
        }
        if config.allow_atomic {
            abilities |= abi::BATCHES;
        }
        Facts {
            abilities,
            max_age_ms: (config.max_age / 1_000_000) as i64,
            duplicates_ns: config.duplicate_window,
            marker_seconds: config.subject_delete_marker_ttl / 1_000_000_000,
        }
    }
}

/// The configuration of a bucket's stream, with what a server of this version has.
pub(crate) fn configuration(names: &Names, layout: &Layout, version: (u32, u32)) -> Json {
    let mut config = json!({
        "name": names.stream,
        "subjects": [names.all()],
        "retention": "limits",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msgs_per_subject": 1,
        "max_msg_size": -1,
        "discard": "new",
        "storage": if layout.in_memory { "memory" } else { "file" },
        "num_replicas": layout.replicas,
        "duplicate_window": DUPLICATES_NS,
        "allow_rollup_hdrs": true,
        "deny_delete": true,
        "allow_direct": true,
    });
    if version >= (2, 11) {
        config["allow_msg_ttl"] = json!(true);
        config["subject_delete_marker_ttl"] = json!(MARKER_SECONDS * 1_000_000_000);
    }
    if version >= (2, 12) {
        config["allow_atomic"] = json!(true);
    }
    config
}

/// Whether it has the subjects of a bucket.
pub(crate) fn is_bucket(info: &StreamInfo, names: &Names) -> bool {
    info.config.subjects.contains(&names.all())
}
