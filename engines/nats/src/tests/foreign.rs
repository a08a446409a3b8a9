//! What other programs store, and what they see: by async-nats, on its own.

use super::*;
use async_nats::jetstream::stream;
use async_nats::HeaderMap;

fn header(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|it| it.to_string())
        .unwrap_or_default()
}

#[test]
fn what_others_store_is_read_as_a_string_or_bytes() {
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "theirs");
    let watch = bucket.watch();
    watch.told.expect(&["reset", "current 0"]);
    others(&server.url(), async |context| {
        for (key, bytes) in [("text", &b"12"[..]), ("bytes", b"\xff"), ("empty", b"")] {
            let subject = format!("$KV.theirs.{key}");
            context
                .publish(subject, bytes.to_vec().into())
                .await
                .unwrap()
                .await
                .unwrap();
        }
        for operation in ["DEL", "PURGE"] {
            let mut headers = HeaderMap::new();
            headers.insert("KV-Operation", operation);
            if operation == "PURGE" {
                headers.insert("Nats-Rollup", "sub");
            }
            let subject = format!("$KV.theirs.{operation}");
            context
                .publish(subject.clone(), "x".into())
                .await
                .unwrap()
                .await
                .unwrap();
            let marked = context.publish_with_headers(subject, headers, "".into());
            marked.await.unwrap().await.unwrap();
        }
    });
    assert_eq!(bucket.value("text"), "string 12");
    assert_eq!(bucket.value("bytes"), "bytes b\"\\xff\"");
    assert_eq!(bucket.value("empty"), "string ");
    assert_eq!(bucket.get("DEL"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.get("PURGE"), Err(abi::NOT_FOUND));
    assert_eq!(bucket.keys(b"", None), ["bytes", "empty", "text"]);
    assert_eq!(bucket.count(), (3, 7));
    watch.told.until("5 DEL deleted");
    watch.told.until("7 PURGE deleted");
    bucket
        .write(&[put("PURGE", Value::Nil).expecting(0)])
        .unwrap();
}

#[test]
fn others_see_a_bucket_as_nats_has_them() {
    let server = Server::start();
    let bucket = Bucket::open(&format!("{}?prefix=p-", server.url()), "ours");
    bucket.put("a.b", Value::Int(-7));
    bucket.put("gone", string("x"));
    bucket.write(&[delete("gone")]).unwrap();
    others(&server.url(), async |context| {
        let mut stream = context.get_stream("KV_p-ours").await.unwrap();
        let config = stream.info().await.unwrap().config.clone();
        assert_eq!(config.subjects, ["$KV.p-ours.>"]);
        assert_eq!(config.max_messages_per_subject, 1);
        assert_eq!(config.discard, stream::DiscardPolicy::New);
        assert!(config.allow_rollup && config.deny_delete && config.allow_direct);
        assert!(config.allow_message_ttl && config.allow_atomic_publish);
        assert!(config.subject_delete_marker_ttl.is_some());
        let message = stream
            .get_last_raw_message_by_subject("$KV.p-ours.a.b")
            .await
            .unwrap();
        assert_eq!(&message.payload[..], b"-7");
        assert_eq!(header(&message.headers, "Kvreg-Type"), "int");
        let marker = stream
            .get_last_raw_message_by_subject("$KV.p-ours.gone")
            .await
            .unwrap();
        assert_eq!(header(&marker.headers, "KV-Operation"), "DEL");
        assert!(marker.payload.is_empty());
    });
}

#[test]
fn a_stream_of_others_is_opened_as_it_is() {
    let server = Server::start();
    others(&server.url(), async |context| {
        for (name, subject) in [("KV_old", "$KV.old.>"), ("KV_none", "something.else")] {
            let config = stream::Config {
                name: name.into(),
                subjects: vec![subject.into()],
                max_messages_per_subject: 5,
                ..Default::default()
            };
            context.create_stream(config).await.unwrap();
        }
        for text in ["1", "2"] {
            context
                .publish("$KV.old.k", text.into())
                .await
                .unwrap()
                .await
                .unwrap();
        }
    });
    let bucket = Bucket::open(&server.url(), "old");
    assert_eq!(bucket.abilities(), 0);
    assert_eq!(bucket.value("k"), "string 2");
    assert_eq!(bucket.count(), (1, 2));
    let living = put("a", Value::Nil).living(Duration::from_secs(5));
    assert_eq!(bucket.write(&[living]), Err(abi::UNSUPPORTED));
    let batch = [put("a", Value::Nil), put("b", Value::Nil)];
    assert_eq!(bucket.write(&batch), Err(abi::UNSUPPORTED));
    assert_eq!(bucket.write(&[put("k", Value::Int(1)).expecting(2)]), Ok(3));
    let watch = bucket.watch();
    watch.told.expect(&["reset", "3 k = int 1", "current 3"]);
    let refused = Bucket::try_open(&server.url(), "none", soon()).err();
    assert_eq!(refused, Some(abi::IO));
}
