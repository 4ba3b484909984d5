//! Operations as requests: what another process asks the controller, and what it is answered.
//!
//! ```text
//! operation ──► message ──► bytes ─── a connection ──► bytes ──► message ──► operation ──► controller
//!    answer ◄── message ◄── bytes ◄───────────────────── bytes ◄── message ◄── answer, sequence ◄──┘
//! ```
//!
//! One file for each kind of resource, as in [`crate::control`]; the messages are those of [`wire::broker`]. Every variant of
//! every error crosses with its fields. Who asks in the process of the controller uses [`MetaHandle`]: nothing is encoded
//! for it.
//!
//! Bytes that make no sense are an error and change nothing. How much they decode to follows from their number, as for
//! every message ([`wire::decoded_bytes_max`]).

mod brokers;
mod configs;
mod producer_ids;
mod refusals;
mod streams;
mod topics;
mod values;
mod wals;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::MetaSequence;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use wire::broker::{self, BrokerApi, BrokerRequest, MetaFailure, UnknownBrokerApi};
use wire::{DecodeError, EncodeError, Message, Reader};

use crate::control::brokers::{SetBrokerState, UnregisterBroker};
use crate::control::configs::AlterConfigs;
use crate::control::producer_ids::AllocateProducerIds;
use crate::control::streams::{CloseStream, Commit, ObjectsRemoved, OpenStreams, Retire, Trim};
use crate::control::topics::{CreatePartitions, CreateTopics, DeleteTopics};
use crate::control::wals::{
    AbandonWal, AdoptStreams, OpenWal, RemoveWal, WalCleared, WalDamaged, WalDrained, WalRecovered,
};
use crate::control::{Answered, Operation};
use crate::error::MetaError;
use crate::handle::MetaHandle;

/// Why bytes are no message, or a message stands for nothing, or something cannot be put into one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Misfit {
    /// There is no such request.
    #[error(transparent)]
    UnknownApi(#[from] UnknownBrokerApi),
    /// The bytes are not the message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// There are bytes behind the message.
    #[error("{bytes} bytes are left behind the message")]
    Behind {
        /// How many.
        bytes: usize,
    },
    /// A field holds what cannot be.
    #[error("{field} cannot be {value}")]
    Senseless {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A number is larger than its field can say.
    #[error("{field} is larger than can be said: {value}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// The number.
        value: u64,
    },
    /// The message cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Why the controller gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoAnswer {
    /// The request is none. It was not decided, and had no effect.
    #[error("the request to the controller makes no sense: {0}")]
    Request(Misfit),
    /// The answer cannot be written, or not be read. What was asked may have had its effect.
    #[error("the controller's answer makes no sense: {0}")]
    Answer(Misfit),
    /// The controller was not reached, or the connection ended before it answered. What was asked may have had its effect.
    #[error("the controller did not answer: {0}")]
    Unreachable(Arc<str>),
}

/// What is asked of the controller, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRequest {
    /// What is asked, by its number.
    pub key: i16,
    /// The version of request and answer.
    pub version: i16,
    /// The request.
    pub body: Bytes,
}

/// A way to the controller in office, wherever it runs.
pub trait ControllerClient: Send + Sync + 'static {
    /// Asks, and resolves with the encoded answer.
    fn ask(&self, request: ControllerRequest) -> BoxFuture<'static, Result<Bytes, NoAnswer>>;
}

/// An operation and the messages that it crosses as.
pub(crate) trait Request: Operation + Sized {
    type Message: BrokerRequest<Response: Headed>;

    fn to_request(&self) -> Result<Self::Message, Misfit>;

    fn from_request(request: Self::Message) -> Result<Self, Misfit>;

    /// The response but for its head.
    fn to_response(answer: Self::Answer) -> Result<ResponseOf<Self>, Misfit>;

    /// What a response without a failure says.
    fn from_response(response: ResponseOf<Self>) -> Result<Self::Answer, Misfit>;
}

pub(crate) type ResponseOf<O> = <<O as Request>::Message as BrokerRequest>::Response;

/// A response, which begins with the sequence from which it is true and with why there is no answer.
pub(crate) trait Headed: Message + Default {
    fn head(&mut self) -> (&mut i64, &mut Option<MetaFailure>);
}

/// One line for each operation: what it crosses as, and how it is served.
macro_rules! operations {
    ($($operation:ident: $api:ident, $response:ident;)*) => {
        $(
            impl Headed for broker::$response {
                fn head(&mut self) -> (&mut i64, &mut Option<MetaFailure>) {
                    (&mut self.sequence, &mut self.failure)
                }
            }
        )*

        /// Decodes a request, has it decided, and encodes the answer.
        pub(crate) fn serve(
            controller: &MetaHandle,
            request: ControllerRequest,
        ) -> BoxFuture<'static, Result<Bytes, NoAnswer>> {
            let controller = controller.clone();
            match BrokerApi::try_from(request.key) {
                $(Ok(BrokerApi::$api) => served::<$operation>(controller, request).boxed(),)*
                Err(unknown) => std::future::ready(Err(NoAnswer::Request(unknown.into()))).boxed(),
            }
        }
    };
}

operations! {
    CreateTopics: MetaCreateTopics, MetaCreateTopicsResponse;
    DeleteTopics: MetaDeleteTopics, MetaDeleteTopicsResponse;
    CreatePartitions: MetaCreatePartitions, MetaCreatePartitionsResponse;
    AlterConfigs: MetaAlterConfigs, MetaAlterConfigsResponse;
    SetBrokerState: MetaSetBrokerState, MetaSetBrokerStateResponse;
    UnregisterBroker: MetaUnregisterBroker, MetaUnregisterBrokerResponse;
    OpenStreams: MetaOpenStreams, MetaOpenStreamsResponse;
    CloseStream: MetaCloseStream, MetaCloseStreamResponse;
    Commit: MetaCommit, MetaCommitResponse;
    Trim: MetaTrim, MetaTrimResponse;
    Retire: MetaRetire, MetaRetireResponse;
    ObjectsRemoved: MetaObjectsRemoved, MetaObjectsRemovedResponse;
    OpenWal: MetaOpenWal, MetaOpenWalResponse;
    AdoptStreams: MetaAdoptStreams, MetaAdoptStreamsResponse;
    WalRecovered: MetaWalRecovered, MetaWalRecoveredResponse;
    WalDamaged: MetaWalDamaged, MetaWalDamagedResponse;
    WalDrained: MetaWalDrained, MetaWalDrainedResponse;
    AbandonWal: MetaAbandonWal, MetaAbandonWalResponse;
    WalCleared: MetaWalCleared, MetaWalClearedResponse;
    RemoveWal: MetaRemoveWal, MetaRemoveWalResponse;
    AllocateProducerIds: MetaAllocateProducerIds, MetaAllocateProducerIdsResponse;
}

async fn served<O: Request>(controller: MetaHandle, request: ControllerRequest) -> Result<Bytes, NoAnswer> {
    let version = request.version;
    let operation: O = decode_request(request.body, version).map_err(NoAnswer::Request)?;
    encode_answer::<O>(controller.ask_answered(operation).await, version).map_err(NoAnswer::Answer)
}

/// Asks the controller, by whatever way.
pub(crate) async fn ask<O: Request>(
    client: &dyn ControllerClient,
    operation: &O,
) -> Result<Answered<Result<O::Answer, MetaError>>, NoAnswer> {
    let version = *O::Message::VERSIONS.end();
    let body = encode_request(operation, version).map_err(NoAnswer::Request)?;
    let answer = client.ask(ControllerRequest { key: O::Message::API.code(), version, body }).await?;
    decode_answer::<O>(answer, version).map_err(NoAnswer::Answer)
}

impl ControllerClient for MetaHandle {
    fn ask(&self, request: ControllerRequest) -> BoxFuture<'static, Result<Bytes, NoAnswer>> {
        serve(self, request)
    }
}

/// A message that is all there is.
fn decode<M: Message>(bytes: Bytes, version: i16) -> Result<M, Misfit> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    match reader.remaining() {
        0 => Ok(message),
        bytes => Err(Misfit::Behind { bytes }),
    }
}

pub(crate) fn encode_request<O: Request>(operation: &O, version: i16) -> Result<Bytes, Misfit> {
    Ok(operation.to_request()?.to_frame(version)?.into_bytes())
}

pub(crate) fn decode_request<O: Request>(bytes: Bytes, version: i16) -> Result<O, Misfit> {
    O::from_request(decode(bytes, version)?)
}

pub(crate) fn encode_answer<O: Request>(
    answered: Answered<Result<O::Answer, MetaError>>,
    version: i16,
) -> Result<Bytes, Misfit> {
    let (mut response, failure) = match answered.answer {
        Ok(answer) => (O::to_response(answer)?, None),
        Err(error) => (ResponseOf::<O>::default(), Some(refusals::failure(&error)?)),
    };
    let sequence = values::signed(answered.sequence.0, "metadata sequence")?;
    let head = response.head();
    (*head.0, *head.1) = (sequence, failure);
    Ok(response.to_frame(version)?.into_bytes())
}

pub(crate) fn decode_answer<O: Request>(
    bytes: Bytes,
    version: i16,
) -> Result<Answered<Result<O::Answer, MetaError>>, Misfit> {
    let mut response: ResponseOf<O> = decode(bytes, version)?;
    let (sequence, failure) = response.head();
    let sequence = MetaSequence(values::natural(*sequence, "metadata sequence")?);
    let answer = match failure.take() {
        None => Ok(O::from_response(response)?),
        Some(failure) => Err(refusals::meta_error(&failure)?),
    };
    Ok(Answered { sequence, answer })
}
