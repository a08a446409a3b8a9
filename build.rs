//! Asks the linker for what a shared library with threads needs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // Threads of ours, and destructors of thread-local storage in the host's threads, may
        // outlive a dlclose: the code has to stay where it is.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
