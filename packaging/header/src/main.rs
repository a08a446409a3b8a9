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
    cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .expect("the functions of src/capi can be described in C")
        .write(std::io::stdout());
}
