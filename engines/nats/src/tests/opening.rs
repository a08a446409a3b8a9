//! Opening: URLs, logins, servers that are not there.

use super::*;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use nkeys::KeyPair;
use serde_json::{json, Value as Json};

fn refused(url: &str, timeout: Duration) -> Status {
    Bucket::try_open(url, "b", in_time(timeout))
        .err()
        .expect("it opens")
}

#[test]
fn a_url_that_cannot_be_is_refused() {
    let server = Server::start();
    for parameters in [
        "?replicas=9",
        "?unknown=1",
        "?storage=",
        "?prefix=a.b",
        "?keys=x",
    ] {
        let url = format!("{}{parameters}", server.url());
        assert_eq!(refused(&url, PATIENCE), abi::INVALID_ARGUMENT, "{url}");
        assert_eq!(erase(&url, "b"), abi::INVALID_ARGUMENT, "{url}");
    }
    assert_eq!(refused("file:x", PATIENCE), abi::INVALID_ARGUMENT);
}

#[test]
fn no_server_is_told_by_the_deadline() {
    let mut server = Server::start();
    server.kill();
    let url = server.url().replace("nats://", "nats://user:secret@");
    assert_eq!(refused(&url, Duration::from_millis(300)), abi::IO);
    assert!(explained().contains(&server.port.to_string()) && !explained().contains("secret"));
    // Who waits for longer has it when it begins.
    let opened = std::thread::scope(|scope| {
        let opening = scope.spawn(|| Bucket::open(&url, "b"));
        std::thread::sleep(Duration::from_millis(50));
        server.restart();
        opening.join()
    });
    opened.unwrap().put("k", Value::Nil);
}

#[test]
fn the_first_server_need_not_be_there() {
    let server = Server::start();
    let mut other = Server::start();
    other.kill();
    let url = format!("{},127.0.0.1:{}", other.url(), server.port);
    Bucket::open(&url, "b").put("k", Value::Nil);
}

#[test]
fn users_have_a_password_or_a_token() {
    let server = Server::with("authorization { user: me, password: \"p w\" }");
    let url = |login| server.url().replace("nats://", &format!("nats://{login}"));
    Bucket::open(&url("me:p%20w@"), "b").put("k", Value::Nil);
    for login in ["", "me:secret@", "secret@"] {
        assert_eq!(refused(&url(login), PATIENCE), abi::IO, "{login}");
        assert!(explained().contains("authorization") && !explained().contains("secret"));
    }
    let server = Server::with("authorization { token: t0k }");
    let url = |login| server.url().replace("nats://", &format!("nats://{login}"));
    Bucket::open(&url("t0k@"), "b").put("k", Value::Nil);
    assert_eq!(refused(&url("other@"), PATIENCE), abi::IO);
}

/// A token of NATS' own kind, signed by its issuer.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: Json) -> String {
    let part = |json: Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = part(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = part(json!({
        "jti": name, "iat": 1, "name": name,
        "iss": issuer.public_key(), "sub": subject.public_key(), "nats": nats,
    }));
    let text = format!("{header}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
    format!("{text}.{signature}")
}

#[test]
fn users_have_a_file_of_credentials() {
    let operator = KeyPair::new_operator();
    let (account, system, user) = (
        KeyPair::new_account(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_operator = jwt(
        &operator,
        &operator,
        "o",
        json!({ "type": "operator", "version": 2 }),
    );
    let of_system = json!({ "type": "account", "version": 2, "limits": { "conn": -1 } });
    let server = Server::with(&format!(
        "operator: {of_operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n\
         {}: {}\n{}: {}\n}}",
        system.public_key(),
        account.public_key(),
        jwt(&operator, &account, "a", of_account),
        system.public_key(),
        jwt(&operator, &system, "s", of_system),
    ));
    let unlimited = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let write = |name: &str, seed: &KeyPair| {
        let path = server.folder().join(name);
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            jwt(&account, &user, "u", unlimited.clone()),
            seed.seed().unwrap(),
        );
        std::fs::write(&path, text).unwrap();
        format!("{}?creds={}", server.url(), path.display())
    };
    Bucket::open(&write("right", &user), "b").put("k", Value::Nil);
    assert_eq!(
        refused(&write("wrong", &KeyPair::new_user()), PATIENCE),
        abi::IO
    );
    assert_eq!(refused(&server.url(), PATIENCE), abi::IO);
}

#[test]
fn credentials_that_cannot_be_read_are_told() {
    let server = Server::start();
    let file = server.folder().join("creds");
    let url = format!("{}?creds={}", server.url(), file.display());
    assert_eq!(refused(&url, PATIENCE), abi::IO);
    std::fs::write(&file, "something").unwrap();
    assert_eq!(refused(&url, PATIENCE), abi::IO);
    assert!(explained().contains("creds"));
}

#[test]
fn what_a_server_cannot_make_is_told() {
    let server = Server::start();
    assert_eq!(
        refused(&format!("{}?replicas=3", server.url()), PATIENCE),
        abi::IO
    );
    assert!(explained().contains("replicas"), "{}", explained());
    Bucket::open(&format!("{}?storage=memory", server.url()), "b").put("k", Value::Nil);
}
