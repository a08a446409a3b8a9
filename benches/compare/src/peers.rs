//! What else a program could use, called from Rust.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

use crate::{Keys, Peer, Work};

/// A concurrent hash map: no isolation, no order, no monitors. Its readers copy the value out,
/// as kvreg's do.
pub struct Dash {
    map: DashMap<Box<[u8]>, Box<[u8]>, RandomState>,
    into_buffer: bool,
}

impl Dash {
    /// `into_buffer`: get copies into a buffer, else into an allocation of its own.
    pub fn new(into_buffer: bool) -> Dash {
        Dash {
            map: DashMap::with_hasher(RandomState::default()),
            into_buffer,
        }
    }
}

impl Peer for Dash {
    fn run(&self, work: Work, keys: &Keys, value: &[u8]) -> u64 {
        let mut sum = 0;
        let mut buffer = [0u8; 64];
        for key in keys.iter() {
            match work {
                Work::Put => drop(self.map.insert(key.into(), value.into())),
                Work::Get => {
                    let found = self.map.get(key).expect("it was put");
                    if self.into_buffer {
                        buffer.copy_from_slice(&found);
                        sum += u64::from(std::hint::black_box(&buffer)[0]);
                    } else {
                        let copy: Box<[u8]> = found.clone();
                        sum += u64::from(std::hint::black_box(&copy)[0]);
                    }
                }
            }
        }
        sum
    }
}

enum Request {
    Put(Box<[u8]>, Box<[u8]>, oneshot::Sender<()>),
    Get(Box<[u8]>, oneshot::Sender<Option<Box<[u8]>>>),
}

/// An ordinary actor: a task that owns a map, a channel of requests, a channel for each reply.
pub struct Actor {
    requests: mpsc::Sender<Request>,
    _runtime: tokio::runtime::Runtime,
}

impl Actor {
    pub fn start() -> Actor {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime");
        let (requests, mut inbox) = mpsc::channel(64);
        runtime.spawn(async move {
            let mut map: HashMap<Box<[u8]>, Box<[u8]>, RandomState> = HashMap::default();
            while let Some(request) = inbox.recv().await {
                match request {
                    Request::Put(key, value, reply) => {
                        map.insert(key, value);
                        let _ = reply.send(());
                    }
                    Request::Get(key, reply) => {
                        let _ = reply.send(map.get(&key).cloned());
                    }
                }
            }
        });
        Actor {
            requests,
            _runtime: runtime,
        }
    }
}

impl Peer for Actor {
    fn run(&self, work: Work, keys: &Keys, value: &[u8]) -> u64 {
        let mut sum = 0;
        for key in keys.iter() {
            match work {
                Work::Put => {
                    let (reply, done) = oneshot::channel();
                    let put = Request::Put(key.into(), value.into(), reply);
                    self.requests.blocking_send(put).expect("it lives");
                    done.blocking_recv().expect("it answers");
                }
                Work::Get => {
                    let (reply, answer) = oneshot::channel();
                    let get = Request::Get(key.into(), reply);
                    self.requests.blocking_send(get).expect("it lives");
                    let found = answer.blocking_recv().expect("it answers");
                    sum += u64::from(found.expect("it was put")[0]);
                }
            }
        }
        sum
    }
}
