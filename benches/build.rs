//! The loops that call kvreg are C, and link the shared library as a C program does. GLib's
//! hash table is measured where its headers are installed.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/loops.c");
    println!("cargo::rerun-if-changed=src/wide/needs.c");
    println!("cargo::rerun-if-changed=src/servers/loops.c");
    println!("cargo::rerun-if-changed=src/glib.c");
    println!("cargo::rerun-if-changed=../include/kvreg.h");
    println!("cargo::rustc-check-cfg=cfg(has_glib)");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    compile("src/loops.c", "loops", &[root.join("include")]);
    compile("src/wide/needs.c", "wide_needs", &[root.join("include")]);
    compile("src/servers/loops.c", "servers", &[root.join("include")]);
    // OUT_DIR is RELEASE/build/kvreg-bench-…/out, and cargo puts the library into RELEASE.
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo"));
    let library = out.ancestors().nth(3).expect("cargo's directories");
    println!("cargo::rustc-env=KVREG_RELEASE={}", library.display());
    println!("cargo::rustc-link-search=native={}", library.display());
    println!("cargo::rustc-link-lib=dylib=kvreg");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", library.display());
    if let Some(flags) = pkg_config(&["--cflags-only-I", "glib-2.0"]) {
        let include = |flag: &str| PathBuf::from(flag.trim_start_matches("-I"));
        let includes: Vec<_> = flags.split_whitespace().map(include).collect();
        compile("src/glib.c", "glib_loops", &includes);
        println!("cargo::rustc-link-lib=dylib=glib-2.0");
        println!("cargo::rustc-cfg=has_glib");
    }
}

fn compile(file: &str, name: &str, includes: &[PathBuf]) {
    let mut build = cc::Build::new();
    build.file(file).std("c11").opt_level(2);
    for include in includes {
        build.include(include);
    }
    build.compile(name);
}

fn pkg_config(arguments: &[&str]) -> Option<String> {
    let output = Command::new("pkg-config").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}
