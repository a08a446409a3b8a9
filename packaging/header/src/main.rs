//! Prints the C header of the crate in a directory: `kvreg-header DIRECTORY`.
//!
//! It is `src/capi/types.h`, which cbindgen cannot make, and the functions of `src/capi`. A tool of
//! its own, so that who builds the library needs neither it nor cbindgen.

use std::path::Path;

fn main() {
    let directory = std::env::args().nth(1).expect("kvreg-header DIRECTORY");
    let root = Path::new(&directory);
    let types = std::fs::read_to_string(root.join("src/capi/types.h")).expect("types.h is there");
    let mut config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    config.after_includes = Some(types);
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .expect("the functions of src/capi can be described in C")
        .write(&mut header);
    let header = String::from_utf8(header).expect("cbindgen writes UTF-8");
    print!("{}", with_groups(&header));
}

/// Lifts each heading (`@name`, which begins the comment of a group's first function) out of its
/// comment, so that it stands over its group as Doxygen has it.
fn with_groups(header: &str) -> String {
    const HEADING: &str = "/**\n * @name ";
    const AFTER_THE_LAST: &str = "#ifdef __cplusplus\n}  // extern \"C\"";
    let mut parts = header.split(HEADING);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    let mut groups = 0;
    for part in parts {
        let (name, comment) = part.split_once("\n *\n").expect("a line of its own");
        if groups > 0 {
            whole += "/** @} */\n\n";
        }
        whole += &format!("/** @name {name}\n *  @{{ */\n\n/**\n{comment}");
        groups += 1;
    }
    if groups == 0 {
        return whole;
    }
    whole.replace(AFTER_THE_LAST, &format!("/** @}} */\n\n{AFTER_THE_LAST}"))
}
