//! From a frame to a handler and back: the [`Service`] that connections talk to.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wire::{ApiKey, ErrorCode, Reader, Request, Writer};

use crate::api::{self, ReplyCost, Run, each_served};
use crate::call::{Call, Head, Refusal, request_bytes};
use crate::core::Core;
use crate::handlers;
use crate::limits::OTHER_FRAME_BYTES_MAX;
use crate::net::peer::{Peer, unless_draining};
use crate::net::room::Held;
use crate::net::service::{CloseReason, Cost, Later, Order, Reply, Service};

/// The broker as connections see it.
pub(crate) struct Dispatch {
    pub(crate) core: Arc<Core>,
    pub(crate) frame_bytes_max: usize,
}

impl Service for Dispatch {
    fn order(&self, frame: &[u8]) -> Order {
        api_of(frame).and_then(api::run).map_or(Order::Alone, Run::order)
    }

    #[allow(clippy::async_yields_async, reason = "an append has two stages")]
    fn append(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes, held: &Held) -> Later<Later<Reply>> {
        let mut reader = Reader::new(frame);
        match Call::read(&mut reader, peer, held) {
            Ok(Head::Call(call)) => {
                let core = self.core.clone();
                let started = core.clock.monotonic();
                Box::pin(async move {
                    let api = call.api;
                    let reply = handlers::produce::append(core.clone(), call, reader).await;
                    let counted: Later<Reply> = Box::pin(async move {
                        let reply = core.replies.charge_now(reply.await);
                        count(&core, api, started, &reply);
                        reply
                    });
                    counted
                })
            }
            // The order was decided by the key, which is Produce's: nothing else is appended.
            Ok(Head::NewerApiVersions { .. }) => Box::pin(std::future::ready(ready(Reply::Nothing))),
            Err(refusal) => Box::pin(std::future::ready(ready(refusal.into()))),
        }
    }

    fn answer(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes, held: &Held) -> Later<Reply> {
        let api = api_of(&frame);
        let (core, peer, held) = (self.core.clone(), peer.clone(), held.clone());
        Box::pin(async move {
            let started = core.clock.monotonic();
            // Who waits for room for its reply holds no more than its bytes: others may have theirs, and wait to be decoded.
            held.pause();
            let reserved = core.replies.reserve(api, foreseen(&core, api, frame.len())).await;
            held.decode().await;
            let mut reader = Reader::new(frame);
            let call = match Call::read(&mut reader, &peer, &held) {
                Ok(Head::Call(call)) => call,
                Ok(Head::NewerApiVersions { correlation_id }) => return newer_api_versions(correlation_id),
                Err(refusal) => return refusal.into(),
            };
            let api = call.api;
            let reply = core.replies.charge(route(&core, call, reader).await, reserved);
            count(&core, api, started, &reply);
            reply
        })
    }

    fn admit(&self, head: [u8; 2], size: usize) -> Result<Cost, usize> {
        if self.order(&head) == Order::Append {
            return Ok(Cost { bytes: size as u64, waits: true });
        }
        if size > OTHER_FRAME_BYTES_MAX {
            return Err(OTHER_FRAME_BYTES_MAX);
        }
        Ok(Cost { bytes: request_bytes(api_of(&head), size, wire::decoded_bytes_max(size)), waits: false })
    }

    fn frame_bytes_max(&self, peer: &Peer) -> usize {
        if peer.is_authenticated() {
            self.frame_bytes_max
        } else {
            self.frame_bytes_max.min(crate::limits::UNAUTHENTICATED_FRAME_BYTES_MAX)
        }
    }
}

/// The API that a frame asks for, as its first bytes say.
fn api_of(frame: &[u8]) -> Option<ApiKey> {
    frame.first_chunk().and_then(|key| ApiKey::try_from(i16::from_be_bytes(*key)).ok())
}

/// What making the reply to a request of so many bytes takes at most, as far as that is known before it is looked at.
fn foreseen(core: &Core, api: Option<ApiKey>, frame_bytes: usize) -> u64 {
    match api.map(api::reply_cost) {
        Some(ReplyCost::Foreseen(reply_bytes)) => reply_bytes(core, frame_bytes),
        _ => 0,
    }
}

fn ready(reply: Reply) -> Later<Reply> {
    Box::pin(std::future::ready(reply))
}

fn count(core: &Core, api: ApiKey, started: Duration, reply: &Reply) {
    let Some(position) = api::position(api) else { return };
    let metrics = core.request_metrics(position);
    match reply {
        Reply::Frame(..) | Reply::Nothing => {
            metrics.requests.inc();
            metrics.seconds.observe((core.clock.monotonic().saturating_sub(started)).as_secs_f64());
        }
        Reply::Close(_) => drop(metrics.errors.inc()),
    }
}

/// Error 35 in version 0's layout, naming only ApiVersions itself, as Kafka answers: every client reads that, and asks
/// again with a version from the answer.
fn newer_api_versions(correlation_id: i32) -> Reply {
    let served = api::versions(ApiKey::ApiVersions);
    let mut writer = Writer::new();
    writer.i32(correlation_id);
    writer.i16(ErrorCode::UnsupportedVersion.code());
    writer.i32(1);
    writer.i16(ApiKey::ApiVersions.code());
    writer.i16(*served.start());
    writer.i16(*served.end());
    match writer.finish_framed() {
        Ok(frame) => Reply::Frame(frame, None),
        Err(error) => Reply::Close(CloseReason { kind: "unwritable", detail: error.to_string() }),
    }
}

/// Decodes, handles and encodes one request.
async fn typed<Q: Request, F: Future<Output = Q::Response>>(
    call: &Call,
    mut reader: Reader,
    handle: impl FnOnce(Q) -> F,
) -> Reply {
    match call.decode::<Q>(&mut reader) {
        Ok(request) => {
            drop(reader);
            call.reply(&handle(request).await)
        }
        Err(refusal) => refusal.into(),
    }
}

/// As [`typed`], for a handler that may wait for other clients: a stopping broker does not wait with it, the client is
/// cut off and turns to whoever coordinates its group then.
async fn waiting<Q: Request, F: Future<Output = Q::Response>>(
    call: &Call,
    reader: Reader,
    handle: impl FnOnce(Q) -> F,
) -> Reply {
    let cut = || CloseReason { kind: "stopping", detail: "the broker is stopping".to_owned() };
    unless_draining(&call.peer, typed(call, reader, handle)).await.unwrap_or_else(|| Reply::Close(cut()))
}

/// One request to a handler, by how requests to its API are run.
macro_rules! run {
    // Its order led it elsewhere.
    (Append, $handler:path, $core:ident, $call:ident, $reader:ident) => {
        Refusal::Unsupported { api: $call.api, version: $call.version }.into()
    };
    (Poll, $handler:path, $core:ident, $call:ident, $reader:ident) => {
        Box::pin($handler($core.clone(), $call, $reader)).await
    };
    (Alone, $handler:path, $core:ident, $call:ident, $reader:ident) => {
        typed(&$call, $reader, |request| $handler($core, &$call, request)).await
    };
    (Waiting, $handler:path, $core:ident, $call:ident, $reader:ident) => {
        waiting(&$call, $reader, |request| $handler($core, &$call, request)).await
    };
}

macro_rules! route {
    ($($key:ident, $file:literal, $module:ident, $run:ident, $reply:ident $(($foreseen:path))?;)*) => {
        /// Has a request answered by the handler of its API.
        async fn route(core: &Arc<Core>, call: Call, reader: Reader) -> Reply {
            match call.api {
                $(ApiKey::$key => run!($run, handlers::$module::handle, core, call, reader),)*
                api => Refusal::Unsupported { api, version: call.version }.into(),
            }
        }
    };
}
each_served!(route);
