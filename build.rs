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
    cbindgen::Builder::new()
        .with_crate(root)
        .with_config(config)
        .generate()
        .expect("the functions of src/capi can be described in C")
        .write_to_file(out);

    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Threads of ours, and destructors of thread-local storage in the host's threads, may
        // outlive a dlclose: the code has to stay where it is.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
