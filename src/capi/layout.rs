//! The structs of the header as Rust lays them out, against the header as a C compiler does: that
//! of now, which may have more than was released.

use std::process::Command;
use std::sync::OnceLock;

/// What `interface.py` says of the header.
fn described() -> &'static str {
    static DESCRIBED: OnceLock<String> = OnceLock::new();
    DESCRIBED.get_or_init(|| {
        let done = Command::new("python3")
            .args(["packaging/abi/interface.py", "include/kvreg.h"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let fault = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{fault}");
        String::from_utf8(done.stdout).unwrap()
    })
}

/// What C has of a struct and its fields, but not of fields within these.
pub(super) fn in_c(name: &str) -> String {
    let (whole, field) = (format!("struct {name} "), format!("field {name}."));
    let about = |line: &&str| {
        let of_a_field = line.strip_prefix(&field);
        line.starts_with(&whole)
            || of_a_field.is_some_and(|rest| !rest.split(' ').next().unwrap().contains('.'))
    };
    let laid_out = |line: &'static str| line.split(" type ").next().unwrap();
    let lines: Vec<_> = described().lines().filter(about).map(laid_out).collect();
    lines.join("\n")
}

pub(super) fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// A test that a struct is laid out as in C. A field is followed by C's name for it, where that
/// cannot be Rust's.
macro_rules! laid_out_as_in_c {
    ($name:ident { $($field:ident $(as $in_c:literal)?),+ $(,)? }) => {
        #[test]
        fn $name() {
            use crate::capi::layout;
            let (size, align) = (size_of::<$name>(), align_of::<$name>());
            let mut told = vec![format!("struct {} size {size} align {align}", stringify!($name))];
            $(
                let in_c = [$($in_c,)? stringify!($field)][0];
                let offset = std::mem::offset_of!($name, $field);
                let size = layout::size_of_field(|it: &$name| &it.$field);
                let name = stringify!($name);
                told.push(format!("field {name}.{in_c} offset {offset} size {size}"));
            )+
            assert_eq!(told.join("\n"), layout::in_c(stringify!($name)));
        }
    };
}
