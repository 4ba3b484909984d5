//! How long a request waits for metadata to change.
//!
//! Kafka's controller gives up a change that it has not begun when the request's timeout is over. Here a change that was
//! handed over cannot be taken back, so the client is told that it may still happen.
//!
//! A timeout of zero or less is over when the request comes ([`told`]): Kafka's controller does nothing and says so. It is
//! what older clients send who do not want to wait for every broker to know (librdkafka before 1.9, by default), and who take
//! that answer for word that the change is on its way, as it was before there was such a controller. So here they get the
//! answer, and the change, too: it is waited for as long as [`CHANGE_WAIT_DEFAULT`], since they go on to use what it makes.
//! What is refused is told as it is, as it was then, and what nobody has confirmed as a failure: they would take that answer
//! for success.

use std::future::Future;
use std::time::Duration;

use base::Clock;
use wire::ErrorCode;

use crate::errors::ApiError;
use crate::limits::CHANGE_WAIT_DEFAULT;

/// The time is over, and nobody knows whether what was asked for will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The metadata store has not confirmed this within {} ms; it may still happen.", .0.as_millis())]
struct TimedOut(Duration);

impl From<TimedOut> for ApiError {
    fn from(error: TimedOut) -> Self {
        ApiError::new(ErrorCode::RequestTimedOut, error.to_string())
    }
}

/// Waits for `change` as long as the request says. `told` makes of its failure what the client is told.
pub(crate) async fn within<T, E>(
    timeout_ms: i32,
    change: impl Future<Output = Result<T, E>>,
    told: impl FnOnce(E) -> ApiError,
) -> Result<T, ApiError> {
    wait_for(asked(timeout_ms), change).await?.map_err(told)
}

/// What is told of a change, by when the request wanted it. Without any time what was done is late; of what was perhaps not
/// done nobody may believe that it was.
pub(crate) fn told<T>(timeout_ms: i32, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
    if timeout_ms > 0 {
        return outcome;
    }
    match outcome {
        Ok(_) => Err(ApiError::bare(ErrorCode::RequestTimedOut)),
        Err(error) if error.code == ErrorCode::RequestTimedOut.code() => {
            Err(ApiError::new(ErrorCode::UnknownServerError, error.message))
        }
        refused => refused,
    }
}

fn asked(timeout_ms: i32) -> Duration {
    u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).map_or(CHANGE_WAIT_DEFAULT, Duration::from_millis)
}

/// How long a request waits for all that it changes.
#[derive(Debug)]
pub(crate) struct ForAWhile {
    clock: Clock,
    wait: Duration,
    until: Duration,
}

impl ForAWhile {
    /// From now on, as long as the request says; one that says nothing waits for [`CHANGE_WAIT_DEFAULT`].
    pub(crate) fn begin(clock: &Clock, timeout_ms: Option<i32>) -> Self {
        let wait = asked(timeout_ms.unwrap_or(0));
        Self { clock: clock.clone(), wait, until: clock.monotonic() + wait }
    }

    /// Waits for one of the changes. What has not begun when the time is over does not begin.
    pub(crate) async fn wait_for<T>(&self, change: impl Future<Output = T>) -> Result<T, ApiError> {
        let left = self.until.saturating_sub(self.clock.monotonic());
        if left.is_zero() {
            return Err(TimedOut(self.wait).into());
        }
        tokio::time::timeout(left, change).await.map_err(|_| TimedOut(self.wait).into())
    }
}

async fn wait_for<T>(wait: Duration, change: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::time::timeout(wait, change).await.map_err(|_| TimedOut(wait).into())
}

#[cfg(test)]
mod tests {
    use base::clock::ManualTime;
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timeout_of_zero_or_less_waits_for_a_while() {
        let slow = || tokio::time::sleep(Duration::from_secs(2)).map(Ok::<_, ApiError>);
        assert_eq!(within(1_000, slow(), |error| error).await, Err(TimedOut(Duration::from_secs(1)).into()));
        for timeout_ms in [3_000, 0, -1, i32::MIN] {
            assert_eq!(within(timeout_ms, slow(), |error| error).await, Ok(()), "{timeout_ms}");
        }
        let never = std::future::pending::<Result<(), ApiError>>();
        assert_eq!(within(0, never, |error| error).await, Err(TimedOut(CHANGE_WAIT_DEFAULT).into()));
    }

    #[test]
    fn without_time_only_what_was_done_is_late() {
        let (late, other) = (ApiError::bare(ErrorCode::RequestTimedOut), ApiError::bare(ErrorCode::InvalidConfig));
        let unconfirmed: ApiError = TimedOut(CHANGE_WAIT_DEFAULT).into();
        for timeout_ms in [0, -1, i32::MIN] {
            assert_eq!(told(timeout_ms, Ok(())), Err(late.clone()));
            assert_eq!(told::<()>(timeout_ms, Err(other.clone())), Err(other.clone()));
            let told = told::<()>(timeout_ms, Err(unconfirmed.clone())).unwrap_err();
            assert_eq!((told.code, &told.message), (ErrorCode::UnknownServerError.code(), &unconfirmed.message));
        }
        for outcome in [Ok(()), Err(other), Err(unconfirmed)] {
            assert_eq!(told(1, outcome.clone()), outcome);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_changes_of_a_request_share_its_time() {
        let time = ManualTime::starting_at(0);
        let all = ForAWhile::begin(&Clock::from_source(time.clone()), None);
        assert_eq!(all.wait_for(std::future::ready(1)).await, Ok(1));
        let over: ApiError = TimedOut(CHANGE_WAIT_DEFAULT).into();
        assert_eq!(all.wait_for(std::future::pending::<()>()).await, Err(over.clone()));
        time.advance(CHANGE_WAIT_DEFAULT);
        assert_eq!(all.wait_for(std::future::ready(2)).await, Err(over));
    }
}
