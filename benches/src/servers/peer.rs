//! Peers that are programs of their own: they do a round when they are told to, and say what one
//! call took in it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Peer {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// GenServers of Elixir's; `None`, with a word of that, where there is none.
    pub fn elixir() -> Option<Peer> {
        let mut elixir = Command::new("elixir");
        elixir.args(["-e", include_str!("genserver.exs")]);
        Peer::start("elixir: GenServer", elixir.env("LC_ALL", "C.UTF-8"))
    }

    /// Actors of CAF's, a library for C++, whose program this is.
    pub fn caf(program: &str) -> Option<Peer> {
        Peer::start("CAF", &mut Command::new(program))
    }

    fn start(name: &str, command: &mut Command) -> Option<Peer> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut process) = command.spawn() else {
            println!("    not installed, and left out: {name}");
            return None;
        };
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("it is piped"));
        Some(Peer { process, to, from })
    }

    /// Does it so often; what it says of that.
    pub fn round(&mut self, what: &str, count: usize) -> Vec<f64> {
        let to = self.to.as_mut().expect("it is there until the end");
        writeln!(to, "{what} {count}").expect("it reads");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it answers");
        let figures = line.split_whitespace().map(str::parse);
        figures.collect::<Result<_, _>>().expect("numbers")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.to = None; // the end of what it reads
        let _ = self.process.wait();
    }
}
