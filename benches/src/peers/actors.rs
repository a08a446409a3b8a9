//! Actors: a task that owns a map, and messages to it.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kameo::actor::{ActorRef, Spawn};
use kameo::message::{Context, Message};
use ractor::{Actor, ActorProcessingErr, RpcReplyPort};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::Map;
use crate::keys::Keys;

type Bytes = Box<[u8]>;
type Contents = HashMap<Bytes, Bytes, RandomState>;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().expect("a runtime")
}

enum Request {
    Put(Bytes, Bytes, oneshot::Sender<()>),
    Get(Bytes, oneshot::Sender<Option<Bytes>>),
}

/// A plain one, called as a C interface over it would call it: by threads that block.
pub struct Tokio {
    requests: mpsc::Sender<Request>,
    _runtime: Runtime,
}

impl Tokio {
    pub fn start() -> Tokio {
        let runtime = runtime();
        let (requests, mut inbox) = mpsc::channel(64);
        runtime.spawn(async move {
            let mut map = Contents::default();
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
        Tokio {
            requests,
            _runtime: runtime,
        }
    }
}

impl Map for Tokio {
    fn get(&self, keys: &Keys) -> u64 {
        let ask = |key: &[u8]| {
            let (reply, answer) = oneshot::channel();
            let get = Request::Get(key.into(), reply);
            self.requests.blocking_send(get).expect("it lives");
            let found = answer.blocking_recv().expect("it answers");
            u64::from(found.expect("it was put")[0])
        };
        keys.iter().map(ask).sum()
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        for key in keys.iter() {
            let (reply, done) = oneshot::channel();
            let put = Request::Put(key.into(), value.into(), reply);
            self.requests.blocking_send(put).expect("it lives");
            done.blocking_recv().expect("it answers");
        }
    }
}

#[derive(Default, kameo::Actor)]
struct Asked(Contents);

struct Get(Bytes);
struct Put(Bytes, Bytes);

impl Message<Get> for Asked {
    type Reply = Option<Bytes>;

    async fn handle(&mut self, Get(key): Get, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        self.0.get(&key).cloned()
    }
}

impl Message<Put> for Asked {
    type Reply = Option<Bytes>;

    async fn handle(&mut self, put: Put, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        self.0.insert(put.0, put.1)
    }
}

/// Asked from inside a task, which is the best case.
pub struct Kameo {
    actor: ActorRef<Asked>,
    runtime: Runtime,
}

impl Kameo {
    pub fn start() -> Kameo {
        let runtime = runtime();
        let actor = runtime.block_on(async { Asked::spawn(Asked::default()) });
        Kameo { actor, runtime }
    }
}

impl Map for Kameo {
    fn get(&self, keys: &Keys) -> u64 {
        let (actor, keys) = (self.actor.clone(), owned(keys));
        let all = self.runtime.spawn(async move {
            let mut sum = 0;
            for key in keys {
                let found = actor.ask(Get(key)).await.expect("it answers");
                sum += u64::from(found.expect("it was put")[0]);
            }
            sum
        });
        self.runtime.block_on(all).expect("it ran")
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        let (actor, keys, value) = (self.actor.clone(), owned(keys), Bytes::from(value));
        let all = self.runtime.spawn(async move {
            for key in keys {
                let put = Put(key, value.clone());
                actor.ask(put).await.expect("it answers");
            }
        });
        self.runtime.block_on(all).expect("it ran");
    }
}

fn owned(keys: &Keys) -> Vec<Bytes> {
    keys.iter().map(Bytes::from).collect()
}

struct Called;

enum Call {
    Get(Bytes, RpcReplyPort<Option<Bytes>>),
    Put(Bytes, Bytes, RpcReplyPort<()>),
}

impl Actor for Called {
    type Msg = Call;
    type State = Contents;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ractor::ActorRef<Call>,
        (): (),
    ) -> Result<Contents, ActorProcessingErr> {
        Ok(Contents::default())
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<Call>,
        call: Call,
        map: &mut Contents,
    ) -> Result<(), ActorProcessingErr> {
        match call {
            Call::Get(key, reply) => reply.send(map.get(&key).cloned())?,
            Call::Put(key, value, reply) => {
                map.insert(key, value);
                reply.send(())?;
            }
        }
        Ok(())
    }
}

/// As kameo's.
pub struct Ractor {
    actor: ractor::ActorRef<Call>,
    runtime: Runtime,
}

impl Ractor {
    pub fn start() -> Ractor {
        let runtime = runtime();
        let started = runtime.block_on(Actor::spawn(None, Called, ()));
        let (actor, _) = started.expect("an actor");
        Ractor { actor, runtime }
    }
}

impl Map for Ractor {
    fn get(&self, keys: &Keys) -> u64 {
        let (actor, keys) = (self.actor.clone(), owned(keys));
        let all = self.runtime.spawn(async move {
            let mut sum = 0;
            for key in keys {
                let asked = actor.call(|reply| Call::Get(key, reply), None).await;
                let found = asked.expect("it answers").unwrap();
                sum += u64::from(found.expect("it was put")[0]);
            }
            sum
        });
        self.runtime.block_on(all).expect("it ran")
    }

    fn put(&self, keys: &Keys, value: &[u8]) {
        let (actor, keys, value) = (self.actor.clone(), owned(keys), Bytes::from(value));
        let all = self.runtime.spawn(async move {
            for key in keys {
                let value = value.clone();
                let asked = actor.call(|reply| Call::Put(key, value, reply), None).await;
                asked.expect("it answers").unwrap();
            }
        });
        self.runtime.block_on(all).expect("it ran");
    }
}
