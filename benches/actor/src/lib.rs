//! A map that a task owns, asked through a channel: as one writes it at first.

use std::collections::HashMap;
use std::sync::OnceLock;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

enum Request {
    Put(Vec<u8>, Vec<u8>, oneshot::Sender<()>),
    Get(Vec<u8>, oneshot::Sender<Option<Vec<u8>>>),
}

fn actor() -> &'static mpsc::Sender<Request> {
    static ACTOR: OnceLock<(Runtime, mpsc::Sender<Request>)> = OnceLock::new();
    let (_, requests) = ACTOR.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let (sender, mut receiver) = mpsc::channel(64);
        runtime.spawn(async move {
            let mut map = HashMap::new();
            while let Some(request) = receiver.recv().await {
                match request {
                    Request::Put(key, value, answer) => {
                        map.insert(key, value);
                        let _ = answer.send(());
                    }
                    Request::Get(key, answer) => {
                        let _ = answer.send(map.get(&key).cloned());
                    }
                }
            }
        });
        (runtime, sender)
    });
    requests
}

/// # Safety
/// The texts are good for their lengths.
unsafe fn text(data: *const u8, len: usize) -> Vec<u8> {
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts(data, len) }.to_vec()
}

/// # Safety
/// The texts are good for their lengths.
#[no_mangle]
pub unsafe extern "C" fn actor_put(key: *const u8, key_len: usize, value: *const u8, len: usize) {
    // SAFETY: by contract.
    let (key, value) = unsafe { (text(key, key_len), text(value, len)) };
    let (answer, answered) = oneshot::channel();
    let _ = actor().blocking_send(Request::Put(key, value, answer));
    let _ = answered.blocking_recv();
}

/// Copies the value into `buffer`: its length, or -1.
///
/// # Safety
/// The key is good for its length, and the buffer for its capacity.
#[no_mangle]
pub unsafe extern "C" fn actor_get(
    key: *const u8,
    key_len: usize,
    buffer: *mut u8,
    capacity: usize,
) -> i64 {
    // SAFETY: by contract.
    let key = unsafe { text(key, key_len) };
    let (answer, answered) = oneshot::channel();
    let _ = actor().blocking_send(Request::Get(key, answer));
    match answered.blocking_recv() {
        Ok(Some(value)) if value.len() <= capacity => {
            // SAFETY: there is room for so many.
            unsafe { buffer.copy_from_nonoverlapping(value.as_ptr(), value.len()) };
            value.len() as i64
        }
        _ => -1,
    }
}
