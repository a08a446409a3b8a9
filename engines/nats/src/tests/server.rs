//! Servers of a test's own, and a road to one that can be blocked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{eventually, PATIENCE};

fn program() -> PathBuf {
    match std::env::var_os("KVREG_NATS_SERVER") {
        Some(path) => path.into(),
        None => panic!("KVREG_NATS_SERVER is to name a nats-server of version 2.15"),
    }
}

/// A folder of a test's own.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kvreg-nats-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// So many different ones.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|it| it.local_addr().unwrap().port())
}

/// A server, which is killed when it is dropped, and has its contents until then.
pub(super) struct Server {
    child: Option<Child>,
    pub(super) port: u16,
    folder: Folder,
    arguments: Vec<String>,
}

impl Server {
    pub(super) fn start() -> Server {
        Server::with("")
    }

    /// With these lines in its configuration.
    pub(super) fn with(configuration: &str) -> Server {
        let [server] = Server::start_all(|[port]| [Server::prepare(port, configuration)]);
        server
    }

    /// Three that are one cluster.
    pub(super) fn cluster() -> [Server; 3] {
        Server::start_all(|[a, b, c, x, y, z]: [u16; 6]| {
            let routes = [x, y, z]
                .map(|it| format!("nats://127.0.0.1:{it}"))
                .join(", ");
            [(a, x), (b, y), (c, z)].map(|(port, own)| {
                let configuration = format!(
                    "server_name: s{port}\ncluster {{ name: test, listen: '127.0.0.1:{own}', \
                     routes: [{routes}] }}"
                );
                Server::prepare(port, &configuration)
            })
        })
    }

    /// Some port may be taken by another meanwhile: then again.
    fn start_all<const PORTS: usize, const COUNT: usize>(
        prepare: impl Fn([u16; PORTS]) -> [Server; COUNT],
    ) -> [Server; COUNT] {
        for _ in 0..20 {
            let mut servers = prepare(free_ports());
            if servers.iter_mut().all(Server::begin) {
                return servers;
            }
        }
        panic!("no server can be started");
    }

    fn prepare(port: u16, configuration: &str) -> Server {
        let folder = Folder::new();
        let file = folder.at("conf");
        let data = folder.at("data");
        let text = format!(
            "host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: '{}' }}\n{configuration}\n",
            data.display()
        );
        std::fs::write(&file, text).unwrap();
        let arguments = vec!["-c".to_owned(), file.display().to_string()];
        Server {
            child: None,
            port,
            folder,
            arguments,
        }
    }

    /// Whether it runs.
    pub(super) fn begin(&mut self) -> bool {
        let mut command = Command::new(program());
        let log = std::fs::File::create(self.folder.at("log")).unwrap();
        command
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log);
        dies_with_its_parent(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("KVREG_NATS_SERVER names what cannot be started: {error}")
        });
        let begin = Instant::now();
        while !greets(self.port) {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(begin.elapsed() < PATIENCE, "the server does not begin");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.child = Some(child);
        true
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn restart(&mut self) {
        self.kill();
        eventually("the server begins again", || self.begin());
    }

    /// The same port, with nothing stored.
    pub(super) fn forget_all(&mut self) {
        let _ = std::fs::remove_dir_all(self.folder.at("data"));
    }

    fn signal(&self, signal: i32) {
        let child = self.child.as_ref().unwrap();
        // SAFETY: a child of this process that was not waited for.
        assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
    }

    pub(super) fn freeze(&self) {
        self.signal(libc::SIGSTOP);
        let pid = self.child.as_ref().unwrap().id() as i32;
        // SAFETY: as above, and a place that is not asked for.
        let stopped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WUNTRACED) };
        assert_eq!(stopped, pid);
    }

    pub(super) fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Also if the test's process is killed.
fn dies_with_its_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        // SAFETY: a system call, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

fn greets(port: u16) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("INFO")
}

#[derive(Default)]
struct Traffic {
    is_blocked: bool,
    streams: Vec<TcpStream>,
}

/// A port that leads to a server, unless it is blocked.
pub(super) struct Road {
    pub(super) port: u16,
    traffic: Arc<Mutex<Traffic>>,
}

impl Road {
    pub(super) fn to(server: &Server) -> Road {
        Road::on(0, server)
    }

    /// On this port.
    pub(super) fn on(port: u16, server: &Server) -> Road {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let (shared, target) = (Arc::clone(&traffic), server.port);
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                drop(stream.map(|it| pass(it, target, &shared)));
            }
        });
        Road { port, traffic }
    }

    /// Ends all connections, and lets no other pass.
    pub(super) fn block(&self) {
        let mut traffic = self.traffic.lock().unwrap();
        traffic.is_blocked = true;
        for stream in traffic.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn unblock(&self) {
        self.traffic.lock().unwrap().is_blocked = false;
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

fn pass(from: TcpStream, target: u16, traffic: &Mutex<Traffic>) -> std::io::Result<()> {
    let mut traffic = traffic.lock().unwrap();
    if traffic.is_blocked {
        return Ok(());
    }
    let to = TcpStream::connect(("127.0.0.1", target))?;
    for (mut source, mut sink) in [
        (from.try_clone()?, to.try_clone()?),
        (to.try_clone()?, from.try_clone()?),
    ] {
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(1..) = source.read(&mut bytes).and_then(|len| {
                sink.write_all(&bytes[..len])?;
                Ok(len)
            }) {}
            let _ = sink.shutdown(Shutdown::Both);
        });
    }
    traffic.streams.extend([from, to]);
    Ok(())
}
