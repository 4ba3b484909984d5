//! What one broker asks another, generated from `schemas/broker/`: for each API a request and its response.
//!
//! They stand behind Kafka's framing and request header, under numbers that Kafka does not use. [`crate::ApiKey`] knows none
//! of them, so that no listener of clients takes one or tells of it.

#![allow(missing_docs, reason = "generated code; the schema files say what the messages mean")]
#![allow(unused_mut, unused_variables, clippy::all, clippy::pedantic, reason = "generated code")]

use std::fmt;
use std::ops::RangeInclusive;

use base::Uuid;
use thiserror::Error;

use crate::codec::{Codec, read_nullable, write_nullable};
use crate::{DecodeError, EncodeError, Message, RawTaggedField, Reader, Str, Writer};

/// The version of the header in front of a request.
pub const REQUEST_HEADER_VERSION: i16 = 2;
/// The version of the header in front of a response.
pub const RESPONSE_HEADER_VERSION: i16 = 1;

/// A request of one broker to another, and the response that answers it.
pub trait BrokerRequest: Message {
    /// What is asked.
    const API: BrokerApi;

    /// What answers it, in the same version.
    type Response: Message;
}

/// A number that is nothing that brokers of this release ask each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no broker of this release is asked anything under API key {0}")]
pub struct UnknownBrokerApi(pub i16);

impl BrokerApi {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }
}

impl TryFrom<i16> for BrokerApi {
    type Error = UnknownBrokerApi;

    fn try_from(key: i16) -> Result<Self, UnknownBrokerApi> {
        Self::ALL.iter().copied().find(|api| api.code() == key).ok_or(UnknownBrokerApi(key))
    }
}

impl fmt::Display for BrokerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

include!(concat!(env!("OUT_DIR"), "/broker.rs"));

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::registry::{Kind, MESSAGES};
    use crate::{ApiKey, UnknownApiKey};

    #[test]
    fn what_brokers_ask_each_other_is_nothing_that_a_client_can_ask() {
        for api in BrokerApi::ALL {
            assert_eq!(ApiKey::try_from(api.code()), Err(UnknownApiKey(api.code())), "{api}");
            let mut frame = api.code().to_be_bytes().to_vec();
            frame.extend([0; 16]);
            let refused = crate::header::decode_request_header(&mut Reader::new(frame.into()));
            assert_eq!(refused.err(), Some(crate::header::HeaderError::UnknownApi { key: api.code() }), "{api}");
        }
        assert!(ApiKey::ALL.iter().all(|key| BrokerApi::try_from(key.code()).is_err()));
    }

    #[test]
    fn every_api_has_its_request_and_its_response_in_the_registry() {
        let numbers = |of: fn(Kind) -> Option<i16>| MESSAGES.iter().filter_map(|e| of(e.kind)).collect::<BTreeSet<_>>();
        let all: BTreeSet<i16> = BrokerApi::ALL.iter().map(|api| api.code()).collect();
        assert_eq!(BrokerApi::ALL.iter().map(|api| api.code()).collect::<Vec<_>>(), Vec::from_iter(all.clone()));
        assert_eq!(numbers(|kind| if let Kind::BrokerRequest(key) = kind { Some(key) } else { None }), all);
        assert_eq!(numbers(|kind| if let Kind::BrokerResponse(key) = kind { Some(key) } else { None }), all);
        assert!(BrokerApi::ALL.iter().all(|api| BrokerApi::try_from(api.code()) == Ok(*api)));
        let names: BTreeSet<&str> = MESSAGES.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), MESSAGES.len(), "no name twice");
    }
}
