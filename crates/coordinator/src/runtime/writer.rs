//! Appends what a shard decided. One writer per shard at most, alive while there is something to do.

use std::sync::Arc;

use base::{Offset, OffsetRange};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};

use super::log::Appended;
use super::shard::{Applied, Batch, Shard};
use super::{LogError, Machine};
use crate::limits::BATCHES_IN_FLIGHT_MAX;

/// A batch that is appended: how many writes it holds and where it stands.
struct Sent {
    writes: usize,
    base: Offset,
}

/// Appends batches in order, a few ahead of durability, and replays each when it is durable, also while the next one
/// waits for its place in the log: who is behind it must not keep up those who are before it.
pub(super) async fn run<M: Machine>(shard: Arc<Shard<M>>) {
    let _turn = shard.turn.clone().lock_owned().await;
    let mut in_flight: FuturesOrdered<BoxFuture<'static, Result<Sent, LogError>>> = FuturesOrdered::new();
    // The batch that has no place in the log yet, and how many writes it holds.
    let mut appending: Option<(usize, BoxFuture<'_, Result<Appended, LogError>>)> = None;
    loop {
        while appending.is_none() && in_flight.len() < BATCHES_IN_FLIGHT_MAX {
            let Some(Batch { bytes, writes }) = shard.take_batch() else { break };
            match bytes {
                Ok(bytes) => appending = Some((writes, shard.log.append(bytes))),
                Err(error) if shard.give_up_snapshot(writes, &error) => {}
                Err(error) => return discard(&shard, &format!("a batch could not be built: {error}")),
            }
        }
        if in_flight.is_empty() && appending.is_none() {
            if shard.rest() {
                return;
            }
            continue;
        }
        base::select! {
            Some(outcome) = in_flight.next() => match outcome {
                Ok(Sent { writes, base }) => match shard.applied(writes, base).await {
                    Applied::Fine => {}
                    Applied::Trim(snapshot) => trim(shard.clone(), snapshot),
                    Applied::Broken(why) => return discard(&shard, &why),
                },
                Err(error) => return discard(&shard, &error.to_string()),
            },
            Some((writes, appended)) = appended(&mut appending) => {
                appending = None;
                match appended {
                    Ok(Appended { base, durable }) => {
                        base::plant::place("after-coordinator-append");
                        in_flight.push_back(Box::pin(async move {
                            durable.await?;
                            Ok(Sent { writes, base })
                        }));
                    }
                    Err(error) if error.refuses_the_batch() && shard.give_up_snapshot(writes, &error) => {}
                    Err(error) => return discard(&shard, &error.to_string()),
                }
            }
            () = shard.more.notified() => {}
        }
    }
}

/// Waits for the batch that is being appended, if there is one.
async fn appended(
    appending: &mut Option<(usize, BoxFuture<'_, Result<Appended, LogError>>)>,
) -> Option<(usize, Result<Appended, LogError>)> {
    let (writes, append) = appending.as_mut()?;
    Some((*writes, append.await))
}

/// The outcome of what was appended is unknown: only the log can tell.
fn discard<M: Machine>(shard: &Shard<M>, why: &str) {
    if !shard.is_closed() {
        tracing::warn!(shard = shard.index(), why, "coordinator shard discarded; it is loaded again from its log");
    }
    shard.close();
}

/// Moves the log start to a complete snapshot, in a task of its own: it may have to wait for an upload. A failure costs only
/// the length of the next load, which tries again.
pub(super) fn trim<M: Machine>(shard: Arc<Shard<M>>, snapshot: OffsetRange) {
    base::task::spawn("coordinator-trim", async move {
        let (index, start) = (shard.index(), snapshot.start);
        match shard.log.trim(snapshot).await {
            Ok(()) => tracing::debug!(shard = index, %start, "coordinator log trimmed to its snapshot"),
            // Whoever has it now trims it.
            Err(LogError::Partition(error)) => tracing::debug!(shard = index, %error, "coordinator log not trimmed"),
            Err(error) => tracing::warn!(shard = index, %error, "coordinator log not trimmed to its snapshot"),
        }
    });
}
