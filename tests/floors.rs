//! The rooms of `src` stand on floors. A room knows those on the floors below it, and those that
//! stand left of it on its own floor: so only the files inside one room may know each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest floor up; on each floor from left to right.
const FLOORS: [&[&str]; 8] = [
    &["error", "memory", "reason", "sync", "time", "value"],
    &["runtime", "reclaim", "hash", "table"],
    &["server"],
    &["store"],
    &["log", "watch", "inbox"],
    &["bucket", "user_server", "registry"],
    &["protocol", "listener"],
    &["handle_table", "process", "api", "capi"],
];

/// The room's place: floor, and place on the floor.
fn place(room: &str) -> Option<(usize, usize)> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let at = rooms.iter().position(|it| *it == room)?;
        Some((floor, at))
    })
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// What is compiled into the library: not its unit tests, which may stand anywhere, nor comments.
fn library_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or("");
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a file names: `crate::room` wherever it stands, in `use crate::{a, b}` too.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|it| it.is_alphanumeric() || *it == '_')
            .collect()
    };
    let mut rooms = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|it| it.is_alphanumeric() || it == '_' || it == '$') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(word(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for it in list.chars() {
                    match it {
                        ',' | '}' if depth == 0 => {
                            rooms.insert(word(item.trim()));
                            item.clear();
                            if it == '}' {
                                break;
                            }
                        }
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        it if depth == 0 => item.push(it),
                        _ => {}
                    }
                }
            }
        }
    }
    rooms.remove("");
    rooms
}

/// The rooms that a file names by leaving its own through `super`: in a `use`, or, since a module
/// may be written inside a file, by one step more anywhere.
fn named_upwards(code: &str, depth: usize) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in code.lines() {
        let is_use = line.starts_with("use ") || line.starts_with("pub");
        let (mut rest, mut steps) = (line, 0);
        while let Some(at) = rest.find("super::") {
            steps = if at == 0 { steps + 1 } else { 1 };
            rest = &rest[at + "super::".len()..];
            let inside = usize::from(!is_use);
            if !rest.starts_with("super::") && steps > depth + inside {
                let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_');
                rooms.insert(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    }
    rooms
}

struct File {
    name: String,
    room: String,
    knows: BTreeSet<String>,
}

fn library() -> Vec<File> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    found
        .into_iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&source).unwrap();
            let name = relative.to_str().unwrap().to_owned();
            let first = relative.components().next().unwrap().as_os_str();
            let room = first.to_str().unwrap().trim_end_matches(".rs").to_owned();
            let is_code = room != "lib" && !name.ends_with("/tests.rs");
            let code = library_code(&fs::read_to_string(&path).unwrap());
            let is_head = relative.ends_with("mod.rs");
            let depth = relative.components().count() - 1 - usize::from(is_head);
            let mut knows = named(&code);
            knows.extend(named_upwards(&code, depth));
            is_code.then_some(File { name, room, knows })
        })
        .collect()
}

#[test]
fn no_arrow_runs_up() {
    let mut wrong = Vec::new();
    for file in library() {
        let Some(mine) = place(&file.room) else {
            wrong.push(format!(
                "src/{}: the room `{}` has no floor",
                file.name, file.room
            ));
            continue;
        };
        for other in file.knows.iter().filter(|other| **other != file.room) {
            match place(other) {
                None => wrong.push(format!("src/{}: `{other}` is no room", file.name)),
                Some(theirs) if theirs >= mine => wrong.push(format!(
                    "src/{}: `{}` (floor {}) uses `{other}` (floor {}): let `{}` own a pointer or \
                     a trait that `{other}` sets",
                    file.name, file.room, mine.0, theirs.0, file.room
                )),
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// A room that nobody needs any more would hide what stands nowhere.
#[test]
fn every_room_is_there() {
    let there: BTreeSet<_> = library().into_iter().map(|file| file.room).collect();
    let missing: Vec<_> = FLOORS
        .iter()
        .flat_map(|rooms| rooms.iter())
        .filter(|room| !there.contains(**room))
        .collect();
    assert!(missing.is_empty(), "no such rooms: {missing:?}");
}

#[test]
fn what_is_named_is_found() {
    let code = "use crate::a::B;\nuse crate::{c, d::{E, F}, g as h};\n\
                let _ = crate::i::j();\n$crate::k!()";
    let found: Vec<_> = named(code).into_iter().collect();
    assert_eq!(found, ["a", "c", "d", "g", "i"]);
}

#[test]
fn what_leaves_its_room_is_found() {
    let code = "use super::a::B;\nuse super::super::c::D;\nfn e() {\n    super::f();\n    \
                super::super::super::g::h();\n}";
    let found: Vec<_> = named_upwards(code, 1).into_iter().collect();
    assert_eq!(found, ["c", "g"]);
    assert_eq!(named_upwards("use super::a::B;", 0).len(), 1);
}

/// How many files are in the largest circle, where each room counts as one.
#[test]
fn circles_are_inside_rooms_only() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in library() {
        let others = file.knows.into_iter().filter(|other| *other != file.room);
        arrows.entry(file.room.clone()).or_default().extend(others);
    }
    // A room that can be taken away knows nobody who is left.
    while let Some(free) = arrows
        .iter()
        .find(|(_, known)| known.iter().all(|other| !arrows.contains_key(other)))
        .map(|(room, _)| room.clone())
    {
        arrows.remove(&free);
    }
    assert!(
        arrows.is_empty(),
        "these know each other: {:?}",
        arrows.keys()
    );
}
