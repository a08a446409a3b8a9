//! Three servers, of which one goes.

use super::*;
use std::sync::Arc;

const CHANGES: i64 = 400;

/// The place of the server that leads the stream.
fn leader(servers: &[Server], stream: &str) -> usize {
    others(&servers[0].url(), async |context| {
        let mut stream = context.get_stream(stream).await.unwrap();
        let info = stream.info().await.unwrap();
        let name = info.cluster.as_ref().unwrap().leader.clone().unwrap();
        servers
            .iter()
            .position(|it| name == format!("s{}", it.port))
            .unwrap()
    })
}

#[test]
fn a_leaders_death_loses_nothing_and_doubles_nothing() {
    let mut servers = Server::cluster();
    let hosts: Vec<String> = servers
        .iter()
        .map(|it| format!("127.0.0.1:{}", it.port))
        .collect();
    let url = format!("nats://{}?replicas=3", hosts.join(","));
    let bucket = Arc::new(Bucket::open(&url, "three"));
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    let (reached, half) = (Arc::new(Sent::default()), CHANGES / 2);
    let writer = {
        let (bucket, reached) = (Arc::clone(&bucket), Arc::clone(&reached));
        std::thread::spawn(move || {
            let mut revision = 0;
            for number in 0..CHANGES {
                // Each depends on the one before.
                let ask = put("k", Value::Int(number)).expecting(revision);
                revision = bucket
                    .write(&[ask])
                    .unwrap_or_else(|it| panic!("{number}: {it}"));
                assert_eq!(bucket.get("k").unwrap().revision, revision);
                if number == half {
                    unsafe { done((&raw const *reached).cast_mut().cast(), abi::OK, 0) };
                }
            }
        })
    };
    reached.wait();
    let led = leader(&servers, "KV_three");
    servers[led].kill();
    writer.join().unwrap();
    let sent: Vec<Sent> = (0..CHANGES).map(|_| Sent::default()).collect();
    for (at, sent) in sent.iter().enumerate() {
        bucket.send(&[put("sent", Value::Int(at as i64))], soon(), sent);
    }
    assert!(sent.iter().all(|it| it.wait().0 == abi::OK));
    assert_eq!(bucket.value("k"), format!("int {}", CHANGES - 1));
    assert_eq!(bucket.count(), (2, 2 * CHANGES as u64));
    watch
        .told
        .until(&format!("{} sent = int {}", 2 * CHANGES, CHANGES - 1));
    servers[led].begin();
    let batch = [put("k", Value::Nil), put("sent", Value::Nil)];
    assert_eq!(bucket.write(&batch), Ok(2 * CHANGES as u64 + 1));
}

#[test]
fn a_cluster_without_a_quorum_is_away() {
    let mut servers = Server::cluster();
    let url = format!("{}?replicas=3", servers[0].url());
    let bucket = Bucket::open(&url, "quorum");
    bucket.put("k", Value::Int(1));
    servers[1].kill();
    servers[2].kill();
    // Nobody can store it: it is not handed over, or it is not known.
    let deadline = in_time(Duration::from_secs(1));
    let answer = bucket.write_by(&[put("k", Value::Int(2))], deadline);
    assert!(
        matches!(answer, Err(abi::TIMEOUT | abi::OUTCOME_UNKNOWN)),
        "{answer:?}"
    );
    eventually("a write does not reach a leader", || {
        let deadline = in_time(Duration::from_millis(100));
        bucket.write_by(&[put("late", Value::Nil)], deadline) == Err(abi::TIMEOUT)
    });
    bucket.listener.until("away");
    servers[1].begin();
    servers[2].begin();
    bucket.listener.until("up");
    bucket.put("k", Value::Int(3));
    assert_eq!(bucket.value("k"), "int 3");
}
