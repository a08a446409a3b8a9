//! DOWNs beside those of Erlang's own machine, where there is an `elixir`.

use std::process::Command;

use super::clock::{per_call, ROUNDS};
use super::rows::Rows;
use crate::kvreg::{Bucket, Inbox};
use crate::measure::{take_turns, Time};

const SCRIPT: &str = include_str!("downs.exs");
const MONITORS: usize = 200_000;
const ONE_BY_ONE: usize = 20_000;

/// Nanoseconds of a DOWN on that machine: many of one exit, and one at a time.
fn of_beam() -> Option<[f64; 2]> {
    let mut elixir = Command::new("elixir");
    elixir.args(["-e", SCRIPT]).env("LC_ALL", "C.UTF-8");
    let output = elixir
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut figures = text.split_whitespace().map(str::parse);
    Some([figures.next()?.ok()?, figures.next()?.ok()?])
}

pub fn measure(rows: &mut Rows) {
    if of_beam().is_none() {
        println!("there is no elixir: its rows are left out");
        return;
    }
    let inbox = Inbox::open();
    let many = || {
        let bucket = Bucket::start();
        inbox.monitor(&bucket, MONITORS);
        per_call(MONITORS, || inbox.kill_and_receive(&bucket, MONITORS))
    };
    let mut beam = Vec::new();
    let figures = take_turns(ROUNDS, 3, |place| match place {
        0 => many(),
        1 => per_call(ONE_BY_ONE, || inbox.down(ONE_BY_ONE)),
        _ => {
            beam.push(of_beam().expect("it ran before"));
            0.0
        }
    });
    let [many, one, ..] = [0, 1].map(|place| Time::of(figures[place].clone()).median);
    let beam = [0, 1].map(|what| Time::of(beam.iter().map(|round| round[what]).collect()).median);
    let name = "200,000 DOWNs of one exit, sent and received, ns each / BEAM";
    rows.times(name, [many, beam[0]], 1.0);
    let name = "start, monitor, end and receive the DOWN, one at a time, ns / BEAM";
    rows.times(name, [one, beam[1]], 2.0);
}
