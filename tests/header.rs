//! The committed header is the one that the build makes.

use std::fs;
use std::path::Path;

#[test]
fn the_committed_header_is_fresh() {
    let generated = fs::read_to_string(concat!(env!("OUT_DIR"), "/kvreg.h")).unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/kvreg.h");
    if std::env::var_os("KVREG_WRITE_HEADER").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap() == generated,
        "include/kvreg.h is not what src/capi says: run `make header`"
    );
}
