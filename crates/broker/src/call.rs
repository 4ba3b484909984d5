//! One request on its way through dispatch: its header, who sent it, and how its reply is framed.

use std::ops::Deref;
use std::sync::Arc;

use base::memory::Charge;
use wire::header::{HeaderError, decode_request_header, encode_response_header};
use wire::{ApiKey, DecodeError, EncodeError, ErrorCode, Message, Reader, Str, Writer};

use crate::api::{self, ReplyCost};
use crate::limits::{ANSWER_FACTOR, ANSWER_SMALL_BYTES};
use crate::net::peer::Peer;
use crate::net::room::Held;
use crate::net::service::{CloseReason, Reply};
use crate::principal::Principal;

/// Room for the small values of most responses.
const REPLY_BYTES_EXPECTED: usize = 256;

/// A request's header and what surrounds it.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<Str>,
    /// Bytes of the whole request, which every slice of it keeps in memory.
    pub(crate) frame_bytes: usize,
    pub(crate) peer: Arc<Peer>,
    /// Who asks: what the peer was when the request was read.
    pub(crate) principal: Arc<Principal>,
    held: Held,
}

/// Why a request gets no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The API is not served here, or not in this version; as Kafka, we hang up.
    #[error("{api} in version {version} is not served; a client should ask ApiVersions first")]
    Unsupported { api: ApiKey, version: i16 },
    /// The header is broken, or names an API that does not exist.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The bytes are not what the header says.
    #[error("a malformed {api} request in version {version}: {error}")]
    Malformed { api: ApiKey, version: i16, error: DecodeError },
    /// Our own answer does not fit the version that was asked for.
    #[error("the reply to {api} in version {version} cannot be written: {error}")]
    Unwritable { api: ApiKey, version: i16, error: EncodeError },
    /// A produce without acknowledgement failed: hanging up is the only way to say so.
    #[error("a produce with acks=0 failed: {error}")]
    SilentProduceFailed { error: ErrorCode },
}

impl From<Refusal> for CloseReason {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Unsupported { .. } => "unsupported",
            Refusal::Malformed { .. } | Refusal::Header(_) => "malformed",
            Refusal::Unwritable { .. } => "unwritable",
            Refusal::SilentProduceFailed { .. } => "silent_produce_failed",
        };
        CloseReason { kind, detail: refusal.to_string() }
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Close(refusal.into())
    }
}

/// What a header says.
pub(crate) enum Head {
    /// A request that is served.
    Call(Call),
    /// ApiVersions in a version that is not ours: the one case with an answer of its own.
    NewerApiVersions { correlation_id: i32 },
}

impl Call {
    /// Reads the header; the body is left in `reader`.
    pub(crate) fn read(reader: &mut Reader, peer: &Arc<Peer>, held: &Held) -> Result<Head, Refusal> {
        let frame_bytes = reader.remaining();
        let newer = newer_api_versions(&mut reader.clone()).map_err(HeaderError::from)?;
        if let Some(correlation_id) = newer {
            return Ok(Head::NewerApiVersions { correlation_id });
        }
        let (api, header) = decode_request_header(reader)?;
        let version = header.request_api_version;
        if api::position(api).is_none() || !api::versions(api).contains(&version) {
            return Err(Refusal::Unsupported { api, version });
        }
        let (correlation_id, client_id) = (header.correlation_id, header.client_id);
        let (peer, principal, held) = (peer.clone(), peer.principal.clone(), held.clone());
        Ok(Head::Call(Self { api, version, correlation_id, client_id, frame_bytes, peer, principal, held }))
    }

    /// Reads the body; from here on the request is charged for what it takes.
    pub(crate) fn decode<M: Message>(&self, reader: &mut Reader) -> Result<M, Refusal> {
        let decoded = M::decode(reader, self.version).map_err(|error| self.malformed(error))?;
        self.settle(reader.decoded_bytes());
        Ok(decoded)
    }

    /// The request takes so many bytes besides its frame.
    pub(crate) fn settle(&self, decoded_bytes: usize) {
        self.held.settle(request_bytes(Some(self.api), self.frame_bytes, decoded_bytes));
    }

    /// The request has gone, and what came of it takes so many bytes.
    pub(crate) fn hold(&self, bytes: usize) {
        self.held.settle(bytes as u64);
    }

    /// What came of the request waits for other clients, and is charged elsewhere or takes next to nothing.
    pub(crate) fn let_go(&self) {
        self.held.let_go();
    }

    /// A request that is let go of, with what it was charged, before its answer waits for other clients.
    pub(crate) fn brief<Q>(&self, request: Q) -> Brief<Q> {
        Brief { request, held: self.held.clone() }
    }

    /// What becomes of a request that cannot be read.
    pub(crate) fn malformed(&self, error: DecodeError) -> Refusal {
        Refusal::Malformed { api: self.api, version: self.version, error }
    }

    /// Frames a response.
    pub(crate) fn reply<M: Message>(&self, response: &M) -> Reply {
        self.reply_with(None, |writer| response.encode(writer, self.version))
    }

    /// Frames a response that `body` writes.
    pub(crate) fn reply_with(
        &self,
        charge: Option<Charge>,
        body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
    ) -> Reply {
        let (api, version) = (self.api, self.version);
        let mut writer = Writer::with_capacity(REPLY_BYTES_EXPECTED);
        let written = encode_response_header(&mut writer, api, version, self.correlation_id)
            .and_then(|()| body(&mut writer))
            .and_then(|()| writer.finish_framed());
        match written {
            Ok(frame) => Reply::Frame(frame, charge),
            Err(error) => {
                let refusal = Refusal::Unwritable { api, version, error };
                tracing::error!(%refusal, "a reply was lost");
                refusal.into()
            }
        }
    }

    /// The client id; empty if it gave none.
    pub(crate) fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The client's address as groups show it: `/10.0.0.1`, as Java prints an address without a name.
    pub(crate) fn client_host(&self) -> String {
        format!("/{}", self.peer.remote.ip().to_canonical())
    }
}

/// A request that does not outlast its waiting: dropped, it gives back what it was charged.
pub(crate) struct Brief<Q> {
    request: Q,
    held: Held,
}

impl<Q> Deref for Brief<Q> {
    type Target = Q;

    fn deref(&self) -> &Q {
        &self.request
    }
}

impl<Q> Drop for Brief<Q> {
    fn drop(&mut self) {
        self.held.let_go();
    }
}

/// What a request takes in memory until it is answered: its frame, what it decodes to, and its answer where that is large
/// and not charged by who makes it.
pub(crate) fn request_bytes(api: Option<ApiKey>, frame_bytes: usize, decoded_bytes: usize) -> u64 {
    let answer = match api.map(api::reply_cost) {
        Some(ReplyCost::Elsewhere) => 0,
        _ => ANSWER_FACTOR * decoded_bytes.saturating_sub(ANSWER_SMALL_BYTES),
    };
    (frame_bytes + decoded_bytes + answer) as u64
}

/// The correlation id of an ApiVersions request newer than ours, or of a version below 0. Nothing behind it can be relied on.
fn newer_api_versions(reader: &mut Reader) -> Result<Option<i32>, DecodeError> {
    let (key, version, correlation_id) = (reader.i16()?, reader.i16()?, reader.i32()?);
    let newer = key == ApiKey::ApiVersions.code() && !api::versions(ApiKey::ApiVersions).contains(&version);
    Ok(newer.then_some(correlation_id))
}
