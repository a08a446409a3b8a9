//! Conversions: what can be stored, and what a stored value can be read as.

use std::borrow::Cow;

use super::{Text, Value, ValueRef};
use crate::error::Error;

/// What can be stored in a bucket: numbers, texts, bytes, and values that were read.
///
/// It is lent to a call, which copies it. `None` is stored as nil. There is none for `u64`,
/// `usize` and larger integers, which may not fit into 64 bits with a sign: convert them first.
///
/// ```
/// let bucket = kvreg::Bucket::start()?;
/// bucket.put("milk", 1)?;
/// bucket.put("eggs", 12u32)?;
/// bucket.put("bread", "rye")?;
/// bucket.put("note", String::from("the brown one"))?;
/// bucket.put("photo", vec![0xff, 0xd8])?;
/// bucket.put("raw", b"raw")?;
/// bucket.put("nothing", None::<i64>)?;
/// # Ok::<(), kvreg::Error>(())
/// ```
pub trait AsValue {
    /// The value, borrowed.
    fn as_value(&self) -> ValueRef<'_>;
}

/// What a value can be read as.
///
/// `Option` reads nil, and a key that is absent, as `None`; anything else reads an absent key as
/// [`Error::NotFound`], and a value of another type as [`Error::WrongType`].
///
/// ```
/// use kvreg::{Bucket, Error, Value};
///
/// let bucket = Bucket::start()?;
/// bucket.put("milk", 1)?;
/// assert_eq!(bucket.get::<i64>("milk")?, 1);
/// assert_eq!(bucket.get::<Value>("milk")?, 1);
/// assert_eq!(bucket.get::<Option<i64>>("eggs")?, None);
/// assert_eq!(bucket.get::<i64>("eggs"), Err(Error::NotFound));
/// assert_eq!(bucket.get::<String>("milk"), Err(Error::WrongType));
/// # Ok::<(), Error>(())
/// ```
pub trait FromValue: Sized {
    /// Converts a value that was found.
    fn from_value(value: Value) -> Result<Self, Error>;

    /// What a key that is absent reads as.
    fn absent() -> Result<Self, Error> {
        Err(Error::NotFound)
    }
}

impl<T: AsValue + ?Sized> AsValue for &T {
    fn as_value(&self) -> ValueRef<'_> {
        (**self).as_value()
    }
}

impl<T: AsValue> AsValue for Option<T> {
    fn as_value(&self) -> ValueRef<'_> {
        self.as_ref().map_or(ValueRef::Nil, T::as_value)
    }
}

impl AsValue for ValueRef<'_> {
    fn as_value(&self) -> ValueRef<'_> {
        *self
    }
}

impl AsValue for Value {
    fn as_value(&self) -> ValueRef<'_> {
        self.as_ref()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Nil => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }

    fn absent() -> Result<Self, Error> {
        Ok(None)
    }
}

/// Nil.
impl AsValue for () {
    fn as_value(&self) -> ValueRef<'_> {
        ValueRef::Nil
    }
}

/// Whatever it is: it is not looked at.
impl FromValue for () {
    fn from_value(_value: Value) -> Result<(), Error> {
        Ok(())
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Error> {
        Ok(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Nil, T::into)
    }
}

/// Types that are copied: how each becomes a value.
macro_rules! scalars {
    ($($scalar:ty, $as:ident, $from:expr;)*) => { $(
        impl AsValue for $scalar {
            fn as_value(&self) -> ValueRef<'_> {
                ValueRef::$as($from(*self))
            }
        }

        impl From<$scalar> for ValueRef<'_> {
            fn from(value: $scalar) -> Self {
                ValueRef::$as($from(value))
            }
        }

        impl From<$scalar> for Value {
            fn from(value: $scalar) -> Self {
                Value::$as($from(value))
            }
        }
    )* };
}

scalars! {
    bool, Bool, bool::from;
    i8, Int, i64::from;
    i16, Int, i64::from;
    i32, Int, i64::from;
    i64, Int, i64::from;
    u8, Int, i64::from;
    u16, Int, i64::from;
    u32, Int, i64::from;
    f32, Float, f64::from;
    f64, Float, f64::from;
}

/// Types of text and bytes: how each is borrowed.
macro_rules! texts {
    ($([$($of:tt)*] $text:ty, $as:ident, $this:ident => $borrow:expr;)*) => { $(
        impl<$($of)*> AsValue for $text {
            fn as_value(&self) -> ValueRef<'_> {
                let $this = self;
                ValueRef::$as($borrow)
            }
        }

        impl<'a, $($of)*> From<&'a $text> for ValueRef<'a> {
            fn from($this: &'a $text) -> Self {
                ValueRef::$as($borrow)
            }
        }

        impl<$($of)*> From<&$text> for Value {
            fn from($this: &$text) -> Self {
                copied(ValueRef::$as($borrow))
            }
        }
    )* };
}

texts! {
    [] str, String, text => text;
    [] String, String, text => text;
    [] Cow<'_, str>, String, text => text;
    [] [u8], Bytes, bytes => bytes;
    [] Vec<u8>, Bytes, bytes => bytes;
    [const N: usize] [u8; N], Bytes, bytes => bytes;
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        value.as_ref()
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::from(&*text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::from(&*bytes)
    }
}

/// As what allocates in Rust does: ends the process if there is no memory. [`Value::new`] does
/// not.
fn copied(value: ValueRef<'_>) -> Value {
    Value::new(value).unwrap_or_else(|_| {
        let layout = std::alloc::Layout::for_value(value.text());
        std::alloc::handle_alloc_error(layout)
    })
}

/// What a value is converted into, and how; `None` if it is none.
macro_rules! readings {
    ($($into:ty, $value:ident => $read:expr;)*) => { $(
        impl TryFrom<&Value> for $into {
            type Error = Error;

            fn try_from($value: &Value) -> Result<$into, Error> {
                $read.ok_or(Error::WrongType)
            }
        }

        impl TryFrom<Value> for $into {
            type Error = Error;

            fn try_from(value: Value) -> Result<$into, Error> {
                <$into>::try_from(&value)
            }
        }

        impl FromValue for $into {
            fn from_value(value: Value) -> Result<$into, Error> {
                <$into>::try_from(&value)
            }
        }
    )* };
}

/// Integers: one that does not fit is of the wrong type.
macro_rules! integers {
    ($($into:ident)*) => { readings! {
        $($into, value => value.as_i64().and_then(|value| $into::try_from(value).ok());)*
    } };
}

integers! { i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize }

readings! {
    bool, value => value.as_bool();
    f64, value => value.as_f64();
    String, value => value.as_str().map(str::to_owned);
    Vec<u8>, value => value.as_bytes().map(<[u8]>::to_vec);
    Text, value => match value {
        Value::String(text) | Value::Bytes(text) => Some(text.clone()),
        _ => None,
    };
}

/// Values are compared with what they may be read as.
macro_rules! equals {
    ($($other:ty, $value:ident => $as:expr;)*) => { $(
        impl PartialEq<$other> for Value {
            fn eq(&self, other: &$other) -> bool {
                let $value = self;
                let mine: Option<$other> = $as;
                mine == Some(*other)
            }
        }
    )* };
}

equals! {
    bool, value => value.as_bool();
    i64, value => value.as_i64();
    f64, value => value.as_f64();
    &str, value => value.as_str();
    &[u8], value => match value {
        Value::Bytes(bytes) => Some(bytes.as_bytes()),
        _ => None,
    };
}
