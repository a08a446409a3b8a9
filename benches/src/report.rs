//! What is printed, and what is written as JSON.

use serde_json::{json, Value};

use crate::measure::Time;

/// A line of the table of aims.
pub struct Aim {
    what: &'static str,
    aim: String,
    measured: f64,
    unit: &'static str,
    is_met: bool,
}

#[derive(Default)]
pub struct Report {
    figures: Vec<Value>,
    aims: Vec<Aim>,
}

impl Report {
    pub fn section(&self, title: &str) {
        println!("\n## {title}\n");
    }

    /// Times of kvreg and its peers: kvreg's is the first, and the others are given as
    /// multiples of it too.
    pub fn times(&mut self, what: &str, names: &[String], times: &[Time]) {
        println!("{what}");
        for (name, time) in names.iter().zip(times) {
            println!(
                "    {name:<34} {:>12.1} ns  ({:.1} to {:.1})  {:>9.2}x",
                time.median,
                time.low,
                time.high,
                time.median / times[0].median,
            );
            self.figures.push(json!({
                "what": what, "who": name, "ns": time.median, "low": time.low, "high": time.high,
            }));
        }
    }

    /// A figure that is no time.
    pub fn figure(&mut self, what: &str, value: f64, unit: &str) {
        println!("    {what:<52} {value:>14.2} {unit}");
        self.figures
            .push(json!({ "what": what, "value": value, "unit": unit }));
    }

    pub fn histogram(&mut self, what: &str, counts: &[(u64, usize)]) {
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1);
        println!("{what}");
        for (below, count) in counts {
            // By powers of ten: the tail is what matters.
            let bar = ((*count as f64).log10() / (most as f64).log10() * 40.0).max(0.0) as usize;
            println!("    < {below:>9} ns {count:>9} {}", "#".repeat(bar.min(40)));
        }
        self.figures
            .push(json!({ "what": what, "histogram": counts }));
    }

    pub fn at_most(&mut self, what: &'static str, limit: f64, measured: f64, unit: &'static str) {
        self.aims.push(Aim {
            what,
            aim: format!("<= {limit}"),
            measured,
            unit,
            is_met: measured <= limit,
        });
    }

    pub fn at_least(&mut self, what: &'static str, limit: f64, measured: f64, unit: &'static str) {
        self.aims.push(Aim {
            what,
            aim: format!(">= {limit}"),
            measured,
            unit,
            is_met: measured >= limit,
        });
    }

    /// The table of aims, and all as JSON.
    pub fn finish(self, file: &str) {
        println!("\n## Aims\n");
        println!("| what | aim | measured | |\n|---|---|---|---|");
        for aim in &self.aims {
            println!(
                "| {} | {} {} | {:.2} {} | {} |",
                aim.what,
                aim.aim,
                aim.unit,
                aim.measured,
                aim.unit,
                if aim.is_met { "met" } else { "MISSED" },
            );
        }
        let aims: Vec<Value> = self
            .aims
            .iter()
            .map(|aim| {
                json!({ "what": aim.what, "aim": aim.aim, "unit": aim.unit,
                        "measured": aim.measured, "met": aim.is_met })
            })
            .collect();
        let all = json!({ "figures": self.figures, "aims": aims });
        let text = serde_json::to_string_pretty(&all).expect("it is plain data");
        match std::fs::write(file, text + "\n") {
            Ok(()) => println!("\nas JSON: {file}"),
            Err(error) => println!("\n{file}: {error}"),
        }
    }
}
