//! A bucket without a registry has options; an error of the system keeps its number.

use kvreg::{Bucket, BucketOptions, Error, Listener, ListenerOptions, Registry, Restart};

#[test]
fn a_bucket_without_a_registry_has_options() {
    let bucket = Bucket::start_with(BucketOptions::new().max_keys(1)).unwrap();
    bucket.put(b"a", 1i64).unwrap();
    assert!(matches!(bucket.put(b"b", 1i64), Err(Error::Limit(_))));
}

#[test]
fn nobody_would_start_it_again() {
    for restart in [Restart::Transient, Restart::Permanent] {
        let options = BucketOptions::new().restart(restart);
        let refused = Bucket::start_with(options).err();
        assert!(matches!(refused, Some(Error::InvalidArgument(_))));
    }
}

#[test]
fn an_error_of_the_system_keeps_its_number() {
    let registry = Registry::start().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Listener::start(&registry, &address, ListenerOptions::default());
    let error = refused.expect_err("the port is taken");
    let in_use = libc::EADDRINUSE;
    assert!(matches!(&error, Error::Io { code, .. } if *code == Some(in_use)));
    let told = error.to_string();
    assert!(told.contains(&format!("(os error {in_use})")), "{told}");
}
