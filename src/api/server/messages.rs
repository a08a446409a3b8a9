//! Messages with types, and who handles which.

use super::context::Context;
use super::unanswered::Unanswered;
use crate::error::Error;
use crate::value::{AsValue, FromValue, Value, ValueRef};

/// A message to a server: what is asked, the arguments, and the type of the answer.
///
/// [`messages!`](crate::messages) writes it. To a server in another language it is a tag and
/// values, and so a server in Rust is called from there.
pub trait Message: Sized {
    /// What is asked: 1 to 255 bytes without NUL.
    const TAG: &'static str;

    /// What a call of it answers.
    type Answer: AsValue + FromValue;

    /// The arguments, in order.
    fn values(&self) -> Vec<ValueRef<'_>>;

    /// The message that these arguments make. An error refuses the message, and the server lives.
    fn from_values(values: &[Value]) -> Result<Self, Error>;
}

/// Writes messages: a struct for each, what it answers (nothing, unless it is said), and its tag.
///
/// ```
/// use kvreg::Message;
///
/// kvreg::messages! {
///     /// Adds to the sum, which is the answer.
///     pub Add(by: i64) -> i64 = "add";
///     pub Reset() = "reset";
/// }
/// assert_eq!(Add::TAG, "add");
/// assert_eq!(Add::from_values(&[5.into()])?, Add(5));
/// # Ok::<(), kvreg::Error>(())
/// ```
#[macro_export]
macro_rules! messages {
    (@answer $answer:ty) => { $answer };
    (@answer) => { () };
    ($(
        $(#[$about:meta])*
        $visible:vis $name:ident($($argument:ident: $of:ty),* $(,)?) $(-> $answer:ty)?
            = $tag:literal;
    )*) => { $(
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        $visible struct $name($(pub $of),*);

        impl $crate::Message for $name {
            const TAG: &'static str = $tag;
            type Answer = $crate::messages!(@answer $($answer)?);

            fn values(&self) -> ::std::vec::Vec<$crate::ValueRef<'_>> {
                let $name($($argument),*) = self;
                ::std::vec![$($crate::AsValue::as_value($argument)),*]
            }

            fn from_values(values: &[$crate::Value]) -> ::std::result::Result<Self, $crate::Error> {
                let mut values = $crate::Arguments::of(values);
                $(let $argument: $of = values.next()?;)*
                values.end()?;
                Ok($name($($argument),*))
            }
        }
    )* };
}

/// The arguments of a message, one after the other.
#[derive(Debug)]
pub struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    /// All of them.
    #[must_use]
    pub fn of(values: &'a [Value]) -> Arguments<'a> {
        Arguments(values)
    }

    /// The next one; only an `Option` may be missing.
    #[allow(clippy::should_implement_trait)]
    pub fn next<T: FromValue>(&mut self) -> Result<T, Error> {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                T::from_value(first.clone())
            }
            None => T::absent().map_err(|_| Error::InvalidArgument("an argument is missing")),
        }
    }

    /// There are no more.
    pub fn end(self) -> Result<(), Error> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Error::InvalidArgument("there are too many arguments")),
        }
    }
}

/// Who handles a message of this type.
pub trait Handles<M: Message> {
    /// Handles it, while the server does nothing else. Of a call the answer goes to who called; of
    /// a cast, an info and a timer's message nobody gets it.
    fn handle(&mut self, message: M, context: &Context<'_>) -> Result<M::Answer, Unanswered>;
}

/// Message types that an actor handles: a tuple of up to 12.
pub trait Messages<A> {
    /// Has the message of this tag handled; `None` if there is none.
    #[doc(hidden)]
    fn dispatch(
        actor: &mut A,
        tag: &str,
        values: &[Value],
        context: &Context<'_>,
    ) -> Option<Result<Value, Unanswered>>;
}

fn handle<A: Handles<M>, M: Message>(
    actor: &mut A,
    values: &[Value],
    context: &Context<'_>,
) -> Result<Value, Unanswered> {
    let message = M::from_values(values)
        .map_err(|error| Unanswered::Refused(format!("\"{}\": {error}", M::TAG)))?;
    let answer = actor.handle(message, context)?;
    Ok(Value::new(answer.as_value())?)
}

macro_rules! tuples {
    ($($message:ident)*) => {
        impl<A: $(Handles<$message> +)*, $($message: Message),*> Messages<A> for ($($message,)*) {
            fn dispatch(
                actor: &mut A,
                tag: &str,
                values: &[Value],
                context: &Context<'_>,
            ) -> Option<Result<Value, Unanswered>> {
                $(
                    if tag == <$message as Message>::TAG {
                        return Some(handle::<A, $message>(actor, values, context));
                    }
                )*
                None
            }
        }
    };
}

tuples!(M1);
tuples!(M1 M2);
tuples!(M1 M2 M3);
tuples!(M1 M2 M3 M4);
tuples!(M1 M2 M3 M4 M5);
tuples!(M1 M2 M3 M4 M5 M6);
tuples!(M1 M2 M3 M4 M5 M6 M7);
tuples!(M1 M2 M3 M4 M5 M6 M7 M8);
tuples!(M1 M2 M3 M4 M5 M6 M7 M8 M9);
tuples!(M1 M2 M3 M4 M5 M6 M7 M8 M9 M10);
tuples!(M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11);
tuples!(M1 M2 M3 M4 M5 M6 M7 M8 M9 M10 M11 M12);

impl<A> Messages<A> for () {
    fn dispatch(
        _actor: &mut A,
        _tag: &str,
        _values: &[Value],
        _context: &Context<'_>,
    ) -> Option<Result<Value, Unanswered>> {
        None
    }
}
