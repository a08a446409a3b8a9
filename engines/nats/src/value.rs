//! Values on the wire: a type in a header, and bytes.
//!
//! Numbers are text that reads back as the same number: Rust prints the shortest one that does. A
//! NaN that is not the usual one has its bits behind it. What others have stored has no type: it is
//! a string if it is UTF-8, else bytes, and so is what does not fit its type.

use bytes::Bytes;

/// The header that has the type.
pub(crate) const TYPE: &str = "Kvreg-Type";

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Bytes),
    Bytes(Bytes),
}

impl Value {
    /// Its type, and its bytes.
    pub(crate) fn encode(self) -> (&'static str, Bytes) {
        match self {
            Value::Nil => ("nil", Bytes::new()),
            Value::Bool(false) => ("bool", Bytes::from_static(b"false")),
            Value::Bool(true) => ("bool", Bytes::from_static(b"true")),
            Value::Int(it) => ("int", it.to_string().into()),
            Value::Float(it) => ("float", float_text(it).into()),
            Value::String(text) => ("string", text),
            Value::Bytes(bytes) => ("bytes", bytes),
        }
    }

    pub(crate) fn decode(kind: Option<&str>, bytes: Bytes) -> Value {
        let text = std::str::from_utf8(&bytes).ok();
        let typed = match (kind, text) {
            (Some("nil"), _) if bytes.is_empty() => Some(Value::Nil),
            (Some("bool"), Some("false")) => Some(Value::Bool(false)),
            (Some("bool"), Some("true")) => Some(Value::Bool(true)),
            (Some("int"), Some(text)) => text.parse().ok().map(Value::Int),
            (Some("float"), Some(text)) => float_of(text).map(Value::Float),
            _ => None,
        };
        match (typed, kind, text) {
            (Some(value), ..) => value,
            (None, Some("bytes"), _) | (None, _, None) => Value::Bytes(bytes),
            (None, _, Some(_)) => Value::String(bytes),
        }
    }
}

fn float_text(it: f64) -> String {
    match it.is_nan() && it.to_bits() != f64::NAN.to_bits() {
        true => format!("NaN:{:016x}", it.to_bits()),
        false => format!("{it:?}"),
    }
}

fn float_of(text: &str) -> Option<f64> {
    match text.strip_prefix("NaN:") {
        Some(bits) => {
            let number = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
            number.is_nan().then_some(number)
        }
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: Value) -> Value {
        let (kind, bytes) = value.encode();
        Value::decode(Some(kind), bytes)
    }

    #[test]
    fn numbers_read_back_as_they_were() {
        for it in [0, -1, i64::MIN, i64::MAX] {
            assert!(matches!(round(Value::Int(it)), Value::Int(read) if read == it));
        }
        let odd = f64::from_bits(0xfff4_0000_0000_0001);
        let (infinite, least) = (f64::INFINITY, f64::from_bits(1));
        for it in [
            0.0,
            -0.0,
            0.1,
            1e300,
            least,
            f64::MAX,
            infinite,
            -infinite,
            f64::NAN,
            odd,
        ] {
            let Value::Float(read) = round(Value::Float(it)) else {
                panic!("{it}");
            };
            assert_eq!(read.to_bits(), it.to_bits());
        }
    }

    #[test]
    fn what_others_store_is_a_string_or_bytes() {
        let decode = |kind, bytes: &'static [u8]| Value::decode(kind, Bytes::from_static(bytes));
        assert!(matches!(decode(None, b"12"), Value::String(_)));
        assert!(matches!(decode(None, b""), Value::String(_)));
        assert!(matches!(decode(None, b"\xff"), Value::Bytes(_)));
        assert!(matches!(decode(Some("int"), b"x"), Value::String(_)));
        assert!(matches!(decode(Some("string"), b"\xff"), Value::Bytes(_)));
        assert!(matches!(decode(Some("bytes"), b"x"), Value::Bytes(_)));
        assert!(matches!(decode(Some("unknown"), b"x"), Value::String(_)));
    }
}
