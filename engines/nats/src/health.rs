//! Whether a store's stream is in reach, which kvreg is told when it changes.
//!
//! # The argument
//!
//! One task of each store looks at the stream when the session changes, and when somebody finds
//! something suspicious: no answer, or that there is no such stream. It alone tells the listener,
//! and it alone says that the bucket is erased: when the servers have said so for a while, as one
//! that has just been started may not know all streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::abi;
use crate::api::{self, StreamInfo};
use crate::store::{Core, Listener};
use crate::waiting::PAUSE;

/// How long a leader has for its answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between looks while it is out of reach.
const LOOK: Duration = Duration::from_millis(200);
/// For how long the servers say that there is no such stream until it is believed.
const GRACE: Duration = Duration::from_secs(1);

enum Found {
    Up,
    Away,
    Gone,
}

pub(crate) async fn look_after(core: Arc<Core>, listener: Arc<Listener>) {
    let mut link = core.cluster.link();
    let (mut is_up, mut gone_since) = (true, None);
    loop {
        link.borrow_and_update();
        let pause = match look(&core).await {
            Found::Up => {
                gone_since = None;
                if !is_up {
                    listener.say(abi::TOLD_UP, 0);
                }
                is_up = true;
                None
            }
            Found::Away => {
                gone_since = None;
                if is_up {
                    listener.say(abi::TOLD_AWAY, 0);
                }
                is_up = false;
                Some(LOOK)
            }
            Found::Gone => {
                let since = *gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE {
                    core.is_deleted.send_replace(true);
                    listener.say(abi::TOLD_DELETED, 0);
                    return;
                }
                Some(PAUSE)
            }
        };
        let rest = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => core.suspicion.notified().await,
            }
        };
        tokio::select! {
            changed = link.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = rest => {}
        }
    }
}

async fn look(core: &Core) -> Found {
    let Some(session) = core.cluster.current() else {
        return Found::Away;
    };
    let request = core.request("STREAM.INFO");
    let Ok(answer) = session.ask(&request, Bytes::new(), PATIENCE).await else {
        return Found::Away;
    };
    match api::read::<StreamInfo>(&answer) {
        Ok(info) if info.has_leader() => {
            core.learn(&info);
            Found::Up
        }
        Err(error) if error.err_code == api::STREAM_NOT_FOUND => Found::Gone,
        _ => Found::Away,
    }
}
