//! Why a call fails: what it answers, and what people are told.

use crate::abi::{self, Status};

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// A sentence without a full stop, and without secrets.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: Status, text: impl Into<String>) -> Failure {
        Failure {
            status,
            text: text.into(),
        }
    }

    pub(crate) fn io(text: impl Into<String>) -> Failure {
        Failure::new(abi::IO, text)
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Failure {
        Failure::new(abi::INVALID_ARGUMENT, text)
    }

    pub(crate) fn unsupported(text: impl Into<String>) -> Failure {
        Failure::new(abi::UNSUPPORTED, text)
    }

    /// It was not done by the deadline, and is not done any more.
    pub(crate) fn timeout() -> Failure {
        Failure::new(
            abi::TIMEOUT,
            "the cluster was out of reach until the deadline",
        )
    }

    /// It was handed over, and not answered by the deadline.
    pub(crate) fn unknown() -> Failure {
        Failure::new(
            abi::OUTCOME_UNKNOWN,
            "the cluster did not answer by the deadline whether it has done this",
        )
    }

    /// A fault of the engine.
    pub(crate) fn internal() -> Failure {
        Failure::new(
            abi::INTERNAL,
            "the engine of nats: failed by a fault of its own",
        )
    }
}
