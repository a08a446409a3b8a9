//! Opening: URLs, logins, servers that are not there.

use super::*;

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
