//! Request and response headers, generated from `schemas/kafka/header.schema`, and how a request's header is found.

#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic, reason = "generated code")]

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::codec::Codec;
use crate::{ApiKey, DecodeError, EncodeError, Message, RawTaggedField, Reader, Str, Writer};

include!(concat!(env!("OUT_DIR"), "/header.rs"));

/// Why a request's header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The frame is not a request at all.
    #[error("the request header is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The API does not exist; its header's layout cannot be known.
    #[error("API key {key} does not exist")]
    UnknownApi {
        /// The key as sent.
        key: i16,
    },
}

/// Reads a request's header and leaves the reader at the body. What of either should be text and is not UTF-8 is replaced.
///
/// The header's version follows from the first four bytes. A version of the API that does not exist is no error here:
/// it is newer than ours, so its header has the newest layout; the caller decides what to answer.
pub fn decode_request_header(reader: &mut Reader) -> Result<(ApiKey, RequestHeader), HeaderError> {
    reader.replace_what_is_no_text();
    let mut ahead = reader.clone();
    let key = ahead.i16()?;
    let version = ahead.i16()?;
    let api = ApiKey::try_from(key).map_err(|_| HeaderError::UnknownApi { key })?;
    let header = RequestHeader::decode(reader, api.request_header_version(version))?;
    Ok((api, header))
}

/// Writes a response's header; `version` is that of the API.
pub fn encode_response_header(
    writer: &mut Writer,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id, ..ResponseHeader::default() };
    header.encode(writer, api.response_header_version(version))
}
