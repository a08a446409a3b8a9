//! What the file has of a key: the type of its value, the revision of the change that stored it,
//! when it goes, and the value's bytes. Numbers are little-endian.

use crate::abi;
use crate::failure::Failure;

/// The type, the revision and the time, before the value's bytes.
const HEAD: usize = 1 + 8 + 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(&'a [u8]),
    Bytes(&'a [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) revision: u64,
    /// In milliseconds since 1970; -1: never.
    pub(crate) expires_ms: i64,
}

impl<'a> Record<'a> {
    /// How many bytes `put` appends.
    pub(crate) fn len(&self) -> usize {
        HEAD + match self.value {
            Value::Nil => 0,
            Value::Bool(_) => 1,
            Value::Int(_) | Value::Float(_) => 8,
            Value::String(bytes) | Value::Bytes(bytes) => bytes.len(),
        }
    }

    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        let kind = match self.value {
            Value::Nil => abi::NIL,
            Value::Bool(_) => abi::BOOL,
            Value::Int(_) => abi::INT,
            Value::Float(_) => abi::FLOAT,
            Value::String(_) => abi::STRING,
            Value::Bytes(_) => abi::BYTES,
        };
        to.push(kind as u8);
        to.extend_from_slice(&self.revision.to_le_bytes());
        to.extend_from_slice(&self.expires_ms.to_le_bytes());
        match self.value {
            Value::Nil => {}
            Value::Bool(it) => to.push(u8::from(it)),
            Value::Int(it) => to.extend_from_slice(&it.to_le_bytes()),
            Value::Float(it) => to.extend_from_slice(&it.to_le_bytes()),
            Value::String(bytes) | Value::Bytes(bytes) => to.extend_from_slice(bytes),
        }
    }

    pub(crate) fn get(from: &'a [u8]) -> Result<Record<'a>, Failure> {
        Record::parse(from).ok_or_else(|| Failure::io("an entry of the file cannot be understood"))
    }

    fn parse(from: &'a [u8]) -> Option<Record<'a>> {
        let (kind, from) = from.split_first()?;
        let (revision, from) = from.split_first_chunk()?;
        let (expires_ms, bytes) = from.split_first_chunk()?;
        let value = match u32::from(*kind) {
            abi::NIL if bytes.is_empty() => Value::Nil,
            abi::BOOL if bytes.len() == 1 => Value::Bool(bytes[0] != 0),
            abi::INT => Value::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            abi::FLOAT => Value::Float(f64::from_le_bytes(bytes.try_into().ok()?)),
            abi::STRING => Value::String(bytes),
            abi::BYTES => Value::Bytes(bytes),
            _ => return None,
        };
        Some(Record {
            value,
            revision: u64::from_le_bytes(*revision),
            expires_ms: i64::from_le_bytes(*expires_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got() {
        let long: Vec<u8> = (0..100_000u32).map(|it| it as u8).collect();
        let values = [
            Value::Nil,
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(i64::MIN),
            Value::Int(7),
            Value::Float(-0.0),
            Value::Float(1.5e300),
            Value::String(b""),
            Value::String("tëxt".as_bytes()),
            Value::Bytes(b"a\0b"),
            Value::Bytes(&long),
        ];
        for value in values {
            for (revision, expires_ms) in [(0, -1), (u64::MAX, 0), (7, i64::MAX)] {
                let record = Record {
                    value,
                    revision,
                    expires_ms,
                };
                let mut bytes = Vec::new();
                record.put(&mut bytes);
                assert_eq!(bytes.len(), record.len());
                assert_eq!(Record::parse(&bytes), Some(record));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let mut bytes = Vec::new();
        let record = Record {
            value: Value::Int(1),
            revision: 1,
            expires_ms: -1,
        };
        record.put(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Record::get(&bytes[..len]).is_err(), "{len}");
        }
        bytes[0] = 6;
        assert!(Record::get(&bytes).is_err());
        bytes[0] = abi::NIL as u8;
        assert!(Record::get(&bytes).is_err());
    }
}
