//! The structs of the header as Rust lays them out, against the record of the interface, which a
//! C compiler made of the header.

use std::fs;

/// The record's lines about a struct and its fields, but not about fields within these.
pub(super) fn recorded(name: &str) -> String {
    let record = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/abi/interface.txt");
    let text = fs::read_to_string(record).unwrap();
    let (whole, field) = (format!("struct {name} "), format!("field {name}."));
    let about = |line: &&str| {
        let of_a_field = line.strip_prefix(&field);
        line.starts_with(&whole)
            || of_a_field.is_some_and(|rest| !rest.split(' ').next().unwrap().contains('.'))
    };
    text.lines().filter(about).collect::<Vec<_>>().join("\n")
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
                told.push(format!("field {}.{in_c} offset {offset} size {size}", stringify!($name)));
            )+
            assert_eq!(told.join("\n"), layout::recorded(stringify!($name)));
        }
    };
}
