//! Programs of their own: Elixir, and Redis over a unix socket, where they are installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::life::Elixir;
use crate::keys::Keys;
use crate::kvreg::Bucket;
use crate::measure::{compare, Entry};
use crate::peers::Map;
use crate::report::Report;

const SCRIPT: &str = include_str!("../elixir.exs");

/// `None`, with a word of why, where there is no Elixir.
pub fn elixir(report: &mut Report) -> Option<Elixir> {
    report.section("Against Elixir and Redis");
    let run = Command::new("elixir")
        .args(["-e", SCRIPT])
        .env("LC_ALL", "C.UTF-8")
        .output();
    let Some(output) = run.ok().filter(|output| output.status.success()) else {
        println!("    elixir is not installed: `make bench-all` installs it");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut figures = std::collections::HashMap::new();
    for line in text.lines() {
        if let Some((name, ns)) = line.rsplit_once(' ') {
            if let Ok(ns) = ns.parse::<f64>() {
                report.figure(&format!("Elixir: {name}"), ns, "ns");
                figures.insert(name.to_owned(), ns);
            }
        }
    }
    let (bucket, keys) = (Bucket::start(), Keys::shuffled(1000, 50_000));
    bucket.put(&keys, &[7; 64]);
    let times = compare(vec![Entry::new("get", keys.len(), || {
        _ = bucket.get(&keys);
    })]);
    report.figure("kvreg: get", times[0].median, "ns");
    let faster = figures["Agent.get"] / times[0].median;
    report.at_least("get against Elixir Agent.get", 25.0, faster, "x faster");
    Some(Elixir {
        life: figures["create, look up, stop"],
        down: figures["spawn, monitor, exit, DOWN"],
    })
}

pub fn redis(report: &mut Report) {
    let socket = std::env::temp_dir().join(format!("kvreg-redis-{}", std::process::id()));
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut server) = server else {
        println!("    redis-server is not installed: `make bench-all` installs it");
        return;
    };
    if let Some(stream) = connect(&socket) {
        measure_redis(report, stream);
    }
    let _ = server.kill();
    let _ = server.wait();
    let _ = std::fs::remove_file(&socket);
}

fn connect(socket: &Path) -> Option<UnixStream> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if let Ok(stream) = UnixStream::connect(socket) {
            return Some(stream);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn measure_redis(report: &mut Report, stream: UnixStream) {
    let mut writer = stream.try_clone().expect("a descriptor");
    let mut reader = BufReader::new(stream);
    let keys = Keys::shuffled(1000, 1000);
    let mut time = |report: &mut Report, name: &str, request: &dyn Fn(&[u8]) -> Vec<u8>| {
        let start = Instant::now();
        for key in keys.iter() {
            writer.write_all(&request(key)).expect("redis reads");
            let mut line = String::new();
            reader.read_line(&mut line).expect("redis answers");
            if let Some(len) = line
                .strip_prefix('$')
                .and_then(|len| len.trim().parse::<usize>().ok())
            {
                let mut rest = vec![0; len + 2];
                reader.read_exact(&mut rest).expect("the value");
            }
        }
        let ns = start.elapsed().as_nanos() as f64 / keys.len() as f64;
        report.figure(&format!("Redis over a unix socket: {name}"), ns, "ns");
    };
    let put = |key: &[u8]| {
        let mut request = b"*3\r\n$3\r\nSET\r\n$10\r\n".to_vec();
        request.extend_from_slice(key);
        request.extend_from_slice(b"\r\n$64\r\n");
        request.extend_from_slice(&[b'v'; 64]);
        request.extend_from_slice(b"\r\n");
        request
    };
    let get = |key: &[u8]| {
        let mut request = b"*2\r\n$3\r\nGET\r\n$10\r\n".to_vec();
        request.extend_from_slice(key);
        request.extend_from_slice(b"\r\n");
        request
    };
    time(report, "put", &put);
    time(report, "get", &get);
}
