//! Error codes and the messages that more than one handler sends.

use meta::{MetaError, Unfit};
use wire::{ErrorCode, Str};

/// The code as responses carry it.
pub(crate) fn code(error: ErrorCode) -> i16 {
    error.code()
}

/// No error.
pub(crate) const NONE: i16 = 0;

/// What every API says to a transactional id.
pub(crate) const NO_TRANSACTIONS: &str =
    "transactions are not supported yet: remove transactional.id from the producer's configuration";

/// What Kafka says to a request that is not valid as a whole, by its `Errors`.
pub(crate) const INVALID_REQUEST: &str = "This most likely occurs because of a request being malformed by the client \
                                          library or the message was sent to an incompatible broker. See the broker logs \
                                          for more details.";

/// What Kafka says of topics that are not there, by its `Errors`.
pub(crate) const NO_SUCH_TOPIC: &str = "This server does not host this topic-partition.";
pub(crate) const NO_SUCH_TOPIC_ID: &str = "This server does not host this topic ID.";

/// What of a message is sent: it may tell of names that a client made up, and a text that is too long cannot be written.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// An error code with the message that goes along with it, if one does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: i16,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
            message.push('…');
        }
        Self { code: code(error), message }
    }

    /// One that is told without a message, as from Kafka where there is nothing to add to the code.
    pub(crate) fn bare(error: ErrorCode) -> Self {
        Self { code: code(error), message: String::new() }
    }

    /// The message as responses carry it.
    pub(crate) fn told(&self) -> Option<Str> {
        (!self.message.is_empty()).then(|| self.message.as_str().into())
    }
}

/// The code for a change of metadata that has no answer.
///
/// A change of which nobody knows whether it was made has timed out. One that was not made, and may be when it is asked for
/// again, was asked of no controller. What can never be made as it was asked for must not be asked for again: its codes are
/// none that clients retry.
pub(crate) fn of_meta(error: &MetaError) -> ErrorCode {
    match error {
        MetaError::Fenced(_) | MetaError::Closed => ErrorCode::NotController,
        MetaError::OutcomeUnknown(_) | MetaError::Unreadable(_) | MetaError::GivenUp(_) => ErrorCode::RequestTimedOut,
        MetaError::TooLarge { .. } => ErrorCode::PolicyViolation,
        MetaError::Unfit(_) => ErrorCode::UnknownServerError,
    }
}

impl From<MetaError> for ApiError {
    fn from(error: MetaError) -> Self {
        Self::new(of_meta(&error), error.to_string())
    }
}

impl From<Unfit> for ApiError {
    fn from(unfit: Unfit) -> Self {
        MetaError::from(unfit).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::MetaSequence;
    use meta::LogLost;

    use super::*;

    #[test]
    fn a_change_without_an_answer_has_the_code_that_says_what_to_do_and_the_reason() {
        let why = || Arc::from("a test");
        let place = MetaSequence(5);
        let all = [
            (MetaError::Fenced(why()), ErrorCode::NotController),
            (MetaError::Closed, ErrorCode::NotController),
            (MetaError::OutcomeUnknown(why()), ErrorCode::RequestTimedOut),
            (MetaError::Unreadable(LogLost::Unreadable(place)), ErrorCode::RequestTimedOut),
            (MetaError::GivenUp(place), ErrorCode::RequestTimedOut),
            (MetaError::TooLarge { bytes: 9, limit: 8 }, ErrorCode::PolicyViolation),
            (MetaError::Unfit(Unfit(why())), ErrorCode::UnknownServerError),
        ];
        for (error, code) in all {
            assert_eq!(ApiError::from(error.clone()), ApiError::new(code, error.to_string()));
        }
        let too_large = ApiError::from(MetaError::TooLarge { bytes: 9, limit: 8 });
        assert!(too_large.message.contains("more than one entry holds (8)"), "{}", too_large.message);
    }
}
