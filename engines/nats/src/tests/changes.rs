//! Many threads at the same time.

use super::*;

#[test]
fn conditions_of_many_threads_are_taken_one_at_a_time() {
    const THREADS: usize = 8;
    const EACH: i64 = 50;
    let server = Server::start();
    let bucket = Bucket::open(&server.url(), "threads");
    bucket.put("n", Value::Int(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let found = bucket.get("n").unwrap();
                    let number: i64 = found.value["int ".len()..].parse().unwrap();
                    let ask = put("n", Value::Int(number + 1)).expecting(found.revision);
                    match bucket.write(&[ask]) {
                        Ok(_) => done += 1,
                        Err(status) => assert_eq!(status, abi::CONFLICT),
                    }
                }
            });
        }
    });
    assert_eq!(bucket.value("n"), format!("int {}", THREADS as i64 * EACH));
}

#[test]
fn a_thread_of_a_runtime_may_call() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let url = server.url();
    runtime.block_on(async {
        let bucket = Bucket::open(&url, "inside");
        bucket.put("k", Value::Int(1));
        assert_eq!(bucket.value("k"), "int 1");
        assert_eq!(bucket.count(), (1, 1));
    });
}
