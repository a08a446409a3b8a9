//! A counter as an actor of Rust's, asked from inside a task, which is the best case.

use kameo::actor::{ActorRef, Spawn};
use kameo::message::{Context, Message};
use ractor::{Actor, ActorProcessingErr, RpcReplyPort};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().expect("a runtime")
}

#[derive(Default, kameo::Actor)]
struct Counter(i64);

struct Add(i64);

impl Message<Add> for Counter {
    type Reply = i64;

    async fn handle(&mut self, Add(by): Add, _: &mut Context<Self, Self::Reply>) -> i64 {
        self.0 += by;
        self.0
    }
}

pub struct Kameo {
    actor: ActorRef<Counter>,
    runtime: Runtime,
}

impl Kameo {
    pub fn start() -> Kameo {
        let runtime = runtime();
        let actor = runtime.block_on(async { Counter::spawn(Counter::default()) });
        Kameo { actor, runtime }
    }

    pub fn ask(&self, count: usize) {
        let actor = self.actor.clone();
        let all = self.runtime.spawn(async move {
            for _ in 0..count {
                actor.ask(Add(1)).await.expect("it answers");
            }
        });
        self.runtime.block_on(all).expect("it ran");
    }
}

struct Called;

struct Call(i64, RpcReplyPort<i64>);

impl Actor for Called {
    type Msg = Call;
    type State = i64;
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ractor::ActorRef<Call>,
        (): (),
    ) -> Result<i64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<Call>,
        Call(by, reply): Call,
        sum: &mut i64,
    ) -> Result<(), ActorProcessingErr> {
        *sum += by;
        reply.send(*sum)?;
        Ok(())
    }
}

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

    pub fn call(&self, count: usize) {
        let actor = self.actor.clone();
        let all = self.runtime.spawn(async move {
            for _ in 0..count {
                let asked = actor.call(|reply| Call(1, reply), None).await;
                asked.expect("it answers").unwrap();
            }
        });
        self.runtime.block_on(all).expect("it ran");
    }
}
