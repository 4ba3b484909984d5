//! Appends what a shard decided. One writer per shard at most, alive while there is something to do.

use std::sync::Arc;

use base::Offset;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt};

use super::shard::{Applied, Shard};
use super::{LogError, Machine};
use crate::limits::BATCHES_IN_FLIGHT_MAX;

/// A batch that is appended: how many writes it holds and where it stands.
struct Sent {
    writes: usize,
    base: Option<Offset>,
}

/// Appends batches in order, a few ahead of durability, and replays each when it is durable.
pub(super) async fn run<M: Machine>(shard: Arc<Shard<M>>) {
    let _turn = shard.turn.clone().lock_owned().await;
    let mut in_flight: FuturesOrdered<BoxFuture<'static, Result<Sent, LogError>>> = FuturesOrdered::new();
    loop {
        while in_flight.len() < BATCHES_IN_FLIGHT_MAX {
            let Some(batch) = shard.take_batch() else { break };
            let writes = batch.writes;
            if batch.records == 0 {
                // A barrier: done when all before it are.
                in_flight.push_back(Box::pin(std::future::ready(Ok(Sent { writes, base: None }))));
                continue;
            }
            let bytes = match batch.bytes {
                Ok(bytes) => bytes,
                Err(error) => return discard(&shard, &format!("a batch could not be built: {error}")),
            };
            match shard.log.append(bytes).await {
                Ok(appended) => in_flight.push_back(Box::pin(async move {
                    appended.durable.await?;
                    Ok(Sent { writes, base: Some(appended.base) })
                })),
                Err(error) => return discard(&shard, &error.to_string()),
            }
        }
        if in_flight.is_empty() {
            if shard.rest() {
                return;
            }
            continue;
        }
        base::select! {
            Some(outcome) = in_flight.next() => match outcome {
                Ok(Sent { writes, base }) => match shard.applied(writes, base) {
                    Applied::Fine => {}
                    Applied::Trim(start) => {
                        base::task::spawn("coordinator-trim", trim(shard.clone(), start));
                    }
                    Applied::Broken(why) => return discard(&shard, &why),
                },
                Err(error) => return discard(&shard, &error.to_string()),
            },
            () = shard.more.notified() => {}
        }
    }
}

/// The outcome of what was appended is unknown: only the log can tell.
fn discard<M: Machine>(shard: &Shard<M>, why: &str) {
    if !shard.is_closed() {
        tracing::warn!(shard = shard.index(), why, "coordinator shard discarded; it is loaded again from its log");
    }
    shard.close();
}

/// Moves the log start to a complete snapshot. A failure costs only the length of the next load, which tries again.
pub(super) async fn trim<M: Machine>(shard: Arc<Shard<M>>, start: Offset) {
    match shard.log.trim(start).await {
        Ok(()) => tracing::debug!(shard = shard.index(), %start, "coordinator log trimmed to its snapshot"),
        Err(error) => tracing::warn!(shard = shard.index(), %error, "coordinator log not trimmed to its snapshot"),
    }
}
