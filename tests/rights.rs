//! Rights are types, and what unsafe code relies on is promised by `unsafe`: the files in
//! `tests/rights` say what must not compile. They reach into the crate, so a copy of it has them
//! as modules. It is checked twice: with what is right, which compiles, and with what is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cases, and the modules that they become: of which the second one is named by the first.
const CASES: [(&str, &str, &str); 2] = [
    ("core.rs", "src/lib.rs", "src/wrong.rs"),
    ("capi.rs", "src/capi/mod.rs", "src/capi/wrong.rs"),
];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Refusal {
    file: String,
    line: usize,
    code: String,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the crate, without what it needs to build other than this library.
struct Crate(PathBuf);

impl Crate {
    fn new() -> Crate {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copied = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rights");
        let _ = fs::remove_dir_all(copied.join("src"));
        copy(&root.join("src"), &copied.join("src"));
        fs::copy(root.join("Cargo.lock"), copied.join("Cargo.lock")).unwrap();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let parts = manifest.split("\n[").filter(|part| {
            let name = part.trim_start_matches('[');
            !name.starts_with("workspace]") && !name.starts_with("build-dependencies]")
        });
        let manifest: Vec<_> = parts.collect();
        let manifest = format!("[workspace]\n\n[{}", manifest.join("\n["));
        fs::write(copied.join("Cargo.toml"), manifest).unwrap();
        for (_, parent, _) in CASES {
            let parent = copied.join(parent);
            let text = fs::read_to_string(&parent).unwrap();
            // What only the cases use is not to be warned of.
            fs::write(parent, text + "\n#[allow(dead_code)]\nmod wrong;\n").unwrap();
        }
        Crate(copied)
    }

    /// Writes the cases without the lines that are marked so; tells what they are refused for.
    fn write(&self, without: &str) -> Vec<(Refusal, String)> {
        let mut expected = Vec::new();
        for (cases, _, module) in CASES {
            let cases = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/rights")
                .join(cases);
            let mut lines = Vec::new();
            let mut reason = None;
            for line in fs::read_to_string(cases).unwrap().lines() {
                if let Some((code, sentence)) = line
                    .trim()
                    .strip_prefix("// E")
                    .and_then(|rest| rest.split_once(": "))
                {
                    reason = Some((format!("E{code}"), sentence.to_owned()));
                }
                let is_left_out = line.ends_with(without);
                lines.push(if is_left_out { "" } else { line }.to_owned());
                if line.ends_with("// wrong") {
                    let (code, sentence) = reason.take().expect("each case says what for");
                    let (file, line) = (module.to_owned(), lines.len());
                    expected.push((Refusal { file, line, code }, sentence));
                }
            }
            fs::write(self.0.join(module), lines.join("\n") + "\n").unwrap();
        }
        expected
    }

    /// What the compiler says: a line for each message.
    fn check(&self) -> (bool, String) {
        let checked = Command::new(env!("CARGO"))
            .args(["check", "--quiet", "--offline", "--message-format", "short"])
            .args(["--config", "profile.dev.debug=false"])
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env_remove("RUSTFLAGS")
            .current_dir(&self.0)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        (checked.status.success(), said)
    }
}

/// `file:line:column: error[code]: sentence`
fn refusal(line: &str) -> Option<(Refusal, String)> {
    let (place, rest) = line.split_once(": error[")?;
    let (code, sentence) = rest.split_once("]: ")?;
    let mut place = place.split(':');
    let (file, line) = (place.next()?, place.next()?.parse().ok()?);
    let (file, code) = (file.to_owned(), code.to_owned());
    Some((Refusal { file, line, code }, sentence.to_owned()))
}

#[test]
fn what_is_wrong_does_not_compile() {
    let krate = Crate::new();
    krate.write("// wrong");
    let (compiles, said) = krate.check();
    assert!(compiles, "what is right does not compile either:\n{said}");

    let mut expected = krate.write("// right");
    let (compiles, said) = krate.check();
    assert!(!compiles, "all of it compiles");
    let mut refused: Vec<_> = said.lines().filter_map(refusal).collect();
    expected.sort();
    refused.sort();
    let places = |all: &[(Refusal, String)]| -> Vec<String> {
        all.iter()
            .map(|(refusal, _)| format!("{refusal:?}"))
            .collect()
    };
    assert_eq!(places(&refused), places(&expected), "{said}");
    for ((_, expected), (_, sentence)) in expected.iter().zip(&refused) {
        assert!(
            sentence.contains(expected),
            "{sentence}\nis not: {expected}"
        );
    }
}
