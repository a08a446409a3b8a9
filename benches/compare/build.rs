//! The loops that call kvreg are C.

fn main() {
    println!("cargo::rerun-if-changed=src/loops.c");
    println!("cargo::rerun-if-changed=../../include/kvreg.h");
    cc::Build::new()
        .file("src/loops.c")
        .include("../../include")
        .std("c11")
        .opt_level(2)
        .compile("loops");
}
