//! Writes the header to `OUT_DIR` (`make header` copies it to `include`), and asks the linker
//! for what a shared library with threads needs.

use std::env;
use std::path::Path;

fn main() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("set by cargo");
    let root = Path::new(&root);
    println!("cargo::rerun-if-changed=src/capi");
    println!("cargo::rerun-if-changed=cbindgen.toml");

    let mut config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let types = root.join("src/capi/types.h");
    config.after_includes = Some(std::fs::read_to_string(types).expect("types.h is there"));
    let out = Path::new(&env::var("OUT_DIR").expect("set by cargo")).join("kvreg.h");
    let mut header = Vec::new();
    cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .expect("the functions of src/capi can be described in C")
        .write(&mut header);
    let header = String::from_utf8(header).expect("cbindgen writes UTF-8");
    std::fs::write(out, with_groups(&header)).expect("OUT_DIR can be written to");

    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Threads of ours, and destructors of thread-local storage in the host's threads, may
        // outlive a dlclose: the code has to stay where it is.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}

/// Lifts each heading (`@name`, which begins the comment of a group's first function) out of its
/// comment, so that it stands over its group as Doxygen has it.
fn with_groups(header: &str) -> String {
    const HEADING: &str = "/**\n * @name ";
    const AFTER_THE_LAST: &str = "#ifdef __cplusplus\n}  // extern \"C\"";
    let mut parts = header.split(HEADING);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for (at, part) in parts.enumerate() {
        let (name, comment) = part.split_once("\n *\n").expect("a line of its own");
        if at > 0 {
            whole += "/** @} */\n\n";
        }
        whole += &format!("/** @name {name}\n *  @{{ */\n\n/**\n{comment}");
    }
    whole.replace(AFTER_THE_LAST, &format!("/** @}} */\n\n{AFTER_THE_LAST}"))
}
