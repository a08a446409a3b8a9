//! How the sweeper is armed: `src/bucket/expiry.rs` itself, with a bucket of contents alone, an
//! alarm that rings when a scenario says so, and a clock that a scenario sets. No key whose time is
//! over is forgotten: as long as one is there, the alarm is set, or a sweep is on its way.

use loom::thread::{spawn, yield_now};

#[path = "../../../src/bucket/expiry.rs"]
mod expiry;

use crate::error::Error;
use crate::openings::{check_bounded, check_no_deeper, until};
use crate::reason::Exit;
use crate::reclaim::pin;
use crate::runtime::Alarm;
use crate::server::{Lasts, Server, State, System, Turn, Writing};
use crate::store::{Always, Contents, Key, Living, Small, Ttl, SWEEPING};
use crate::subject::{forever, system};
use crate::sync::{fence, Arc, Ordering};
use crate::time::SET;
use crate::value::ValueRef;

pub(crate) type BucketServer = Server<BucketState>;

pub(crate) struct BucketState {
    contents: Contents,
    spec: Spec,
}

#[derive(Clone, Copy)]
struct Spec {
    around: &'static Around,
}

/// What all buckets of a process share.
struct Around {
    system: &'static System,
    buckets: Buckets,
}

struct Buckets {
    expiry: expiry::Expiry,
}

// SAFETY: the threads of a scenario are one.
unsafe impl Send for BucketState {}
// SAFETY: as above.
unsafe impl Sync for BucketState {}

pub(crate) enum Message {
    Sweep,
}

// SAFETY: `exclusive` answers the state's own contents.
unsafe impl State for BucketState {
    type Exclusive = Contents;
    type Message = Message;
    type Task = ();

    fn handle(
        server: &Arc<BucketServer>,
        write: &Writing<'_, BucketState>,
        Message::Sweep: Message,
    ) -> Result<(), Error> {
        expiry::handle(server, write);
        Ok(())
    }

    fn is_errand(_message: &Message) -> bool {
        true
    }

    fn settle(server: &Arc<BucketServer>, _write: &Writing<'_, BucketState>) {
        server.settle_times();
    }

    fn refused(_: &Arc<BucketServer>, error: &Error) {
        panic!("{error}");
    }

    fn mailbox_limit(&self) -> usize {
        usize::MAX
    }

    fn run(_: Turn<BucketState>, (): ()) {}

    fn exclusive(&self) -> &Contents {
        &self.contents
    }

    fn close(write: &Writing<'_, BucketState>) {
        write.exclusive().close();
    }

    fn ended(_: &Arc<BucketServer>, _: &Exit) {}

    fn name(&self) -> Option<&str> {
        None
    }
}

const A: &[u8] = &[1, 0, b'a'];
const B: &[u8] = &[2, 0, b'b'];

/// Milliseconds: what is put with this is due in the next tick of the wheel.
const TTL: u64 = 10;

/// When what is put at the beginning is due, and what is put then.
const DUE: u64 = 300;
const LAST: u64 = 1000;

/// Sets the clock, for all.
fn set_clock(ms: u64) {
    fence(Ordering::SeqCst);
    SET.set(ms);
}

/// By the short way, if nobody need be told.
fn put(server: &Arc<BucketServer>, key: &[u8]) {
    let living = Living(Always, Ttl::Millis(TTL));
    let one = ValueRef::Int(1);
    let short = server.fast_call(|write| {
        let small = Small::of(one).unwrap();
        let put = write
            .exclusive()
            .fast_put(Key::new(key), small, living, &pin());
        put.map(|_| ())
    });
    if short.is_none() {
        let put = |write: &Writing<'_, BucketState>| {
            let put = write.exclusive().put_small(Key::new(key), one, living);
            put.map(|_| ())
        };
        server.call(&mut forever(), put).unwrap().unwrap();
    }
}

/// A bucket with a key that is due, and the alarm that is set for it.
fn begin() -> (Arc<BucketServer>, Arc<Alarm>) {
    set_clock(100);
    let expiry = expiry::Expiry::default();
    let around: &'static Around = Box::leak(Box::new(Around {
        system: system(),
        buckets: Buckets { expiry },
    }));
    let state = BucketState {
        contents: Contents::new(None, None),
        spec: Spec { around },
    };
    let server = Server::start(around.system, state);
    put(&server, A);
    let alarm = Alarm::take_served().expect("it was started for the first key");
    set_clock(DUE);
    (server, alarm)
}

/// How many keys there are when nobody changes any, asked in the short way: in the long one who
/// asks would see to the alarm.
fn count(server: &Arc<BucketServer>) -> usize {
    loop {
        if let Some(count) = server.fast_call(|write| write.exclusive().count().ok()) {
            return count;
        }
        yield_now();
    }
}

/// When the time of all keys is over, whoever is to look looks until they are gone.
fn all_go(server: &Arc<BucketServer>, alarm: &Alarm) {
    set_clock(LAST);
    let times = &server.state().contents.times;
    loop {
        until(|| times.armed() != SWEEPING);
        if count(server) == 0 {
            break;
        }
        let is_on_its_way = times.armed() == SWEEPING;
        assert!(alarm.ring() || is_on_its_way, "a key is forgotten");
    }
}

/// Rings while a scenario does something.
fn ring_beside(during: fn(&Arc<BucketServer>)) {
    let (server, alarm) = begin();
    let other = Arc::clone(&alarm);
    let ringing = spawn(move || other.ring());
    during(&server);
    ringing.join().unwrap();
    all_go(&server, &alarm);
}

fn beside_the_alarm(during: fn(&Arc<BucketServer>)) {
    check_bounded(1, move || ring_beside(during));
}

/// It has rung, and the sweep has begun: the fewer threads, the more of their orders are tried.
#[test]
fn a_key_that_is_put_while_the_sweeper_goes_to_rest() {
    check_bounded(2, || {
        let (server, alarm) = begin();
        assert!(alarm.ring());
        yield_now();
        put(&server, B);
        all_go(&server, &alarm);
    });
}

#[test]
fn a_key_that_is_put_when_the_alarm_rings() {
    beside_the_alarm(|server| put(server, B));
}

/// The sweep has to wait, and is handled as mail.
#[test]
fn a_key_that_is_put_while_the_sweeper_waits() {
    beside_the_alarm(|server| {
        let turn = server.occupy(&mut forever(), Lasts::Call).unwrap();
        let living = Living(Always, Ttl::Millis(TTL));
        let put = turn.inside().commit(|write| {
            let put = write
                .exclusive()
                .put_small(Key::new(B), ValueRef::Int(1), living);
            put.map(|_| ())
        });
        put.unwrap().unwrap();
    });
}

/// Nothing is left to see, and then something is.
#[test]
fn a_key_that_is_put_when_the_sweeper_was_sent_away() {
    let during = |server: &Arc<BucketServer>| {
        let remove = |write: &Writing<'_, BucketState>| {
            let _ = write.exclusive().remove(Key::new(A));
        };
        server.call(&mut forever(), remove).unwrap();
        put(server, B);
    };
    check_no_deeper(1, move || ring_beside(during));
}
