//! Rows: kvreg's figure, the peer's, their ratio and what it should be.

use serde_json::{json, Map, Value};

/// What a row should reach.
#[derive(Clone, Copy)]
pub enum Aim {
    /// Of the ratio, which is above 1 where kvreg is better.
    Ratio(f64),
    /// Of kvreg's own figure.
    AtMost(f64),
}

/// Which of two figures is the better one.
#[derive(Clone, Copy)]
enum Better {
    Less,
    More,
}

#[derive(Default)]
pub struct Rows {
    group: &'static str,
    rows: Vec<Value>,
    missed: usize,
    curves: Map<String, Value>,
}

impl Rows {
    pub fn begin(&mut self, group: &'static str) {
        self.group = group;
        println!(
            "\n{:<74} {:>10} {:>10} {:>7}  aim",
            group, "kvreg", "peer", "ratio"
        );
    }

    /// Of times: the name says of what, in which unit, and after a stroke beside whom.
    pub fn times(&mut self, name: &str, [kvreg, peer]: [f64; 2], aim: f64) {
        self.add(name, kvreg, Some(peer), Better::Less, Aim::Ratio(aim));
    }

    /// Of rates.
    pub fn rates(&mut self, name: &str, [kvreg, peer]: [f64; 2], aim: f64) {
        self.add(name, kvreg, Some(peer), Better::More, Aim::Ratio(aim));
    }

    /// Of what kvreg's own figure may be at most; the peer's is there to be compared.
    pub fn at_most(&mut self, name: &str, kvreg: f64, peer: Option<f64>, limit: f64) {
        self.add(name, kvreg, peer, Better::Less, Aim::AtMost(limit));
    }

    fn add(&mut self, name: &str, kvreg: f64, peer: Option<f64>, better: Better, aim: Aim) {
        let ratio = peer.map(|peer| match better {
            Better::Less => peer / kvreg,
            Better::More => kvreg / peer,
        });
        let (is_met, said) = match aim {
            Aim::Ratio(least) => (
                ratio.is_some_and(|ratio| ratio >= least),
                format!("{least:.2} or more"),
            ),
            Aim::AtMost(limit) => (kvreg <= limit, format!("kvreg's {limit:.0} or less")),
        };
        let figure = |figure: Option<f64>, width, digits| match figure {
            Some(figure) => format!("{figure:>width$.digits$}"),
            None => format!("{:>width$}", "-"),
        };
        let (theirs, times) = (figure(peer, 10, 2), figure(ratio, 7, 2));
        let missed = if is_met { "" } else { "  MISSED" };
        println!("{name:<74} {kvreg:>10.2} {theirs} {times}  {said}{missed}");
        self.missed += usize::from(!is_met);
        self.rows.push(json!({
            "group": self.group, "name": name, "kvreg": kvreg, "peer": peer, "ratio": ratio,
            "aim": said, "met": is_met,
        }));
    }

    /// A point of a curve, for the plots.
    pub fn point(&mut self, plot: &str, curve: &str, x: usize, y: f64) {
        let plot = self.curves.entry(plot).or_insert_with(|| json!({}));
        let curve = plot.as_object_mut().expect("curves by name").entry(curve);
        let points = curve.or_insert_with(|| json!([]));
        points.as_array_mut().expect("points").push(json!([x, y]));
    }

    /// How many missed, and all as JSON.
    pub fn finish(self, file: &str) {
        println!("\n{} rows, {} missed", self.rows.len(), self.missed);
        let all = json!({ "rows": self.rows, "curves": self.curves });
        let text = serde_json::to_string_pretty(&all).expect("it is plain data");
        match std::fs::write(file, text + "\n") {
            Ok(()) => println!("as JSON: {file}"),
            Err(error) => println!("{file}: {error}"),
        }
    }
}
