//! Answers that another broker could already contradict (I-3): the latest offset, where an epoch ends.
//!
//! Such an answer is true as long as this broker was not replaced *when it was known*. So the check of the fence begins
//! after that: one that began before says nothing of what was read behind it, and a reader would be told an end that its new
//! leader has long moved on from.

use std::fmt::Display;
use std::future::Future;

/// Comes to know an answer, then checks that nobody has taken this broker's place, and only then gives the answer; what
/// `instead` makes of it if somebody has.
pub(crate) async fn told_if_unfenced<T, E: Display>(
    know: impl Future<Output = T>,
    check: impl Future<Output = Result<(), E>>,
    instead: impl FnOnce(T) -> T,
) -> T {
    let answer = know.await;
    match check.await {
        Ok(()) => answer,
        Err(why) => {
            tracing::debug!(%why, "a broker that was replaced does not tell what it knows");
            instead(answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A broker whose end is 5, and which is replaced, with the end at 9, while the answer is on its way.
    async fn told(replaced_before_the_check: bool) -> i32 {
        let (end, replaced) = (Cell::new(5), Cell::new(replaced_before_the_check));
        let check = async {
            let outcome = if replaced.get() { Err("replaced") } else { Ok(()) };
            // What is read from here on, nobody has checked.
            replaced.set(true);
            end.set(9);
            outcome
        };
        told_if_unfenced(async { end.get() }, check, |_| -1).await
    }

    #[tokio::test]
    async fn the_answer_is_known_before_the_check_of_the_fence_begins() {
        assert_eq!(told(false).await, 5);
        assert_eq!(told(true).await, -1);
    }
}
