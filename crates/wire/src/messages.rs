//! Every request and response of the client-facing APIs, generated from `schemas/kafka/`: one module per message, the
//! message itself re-exported here.

#![allow(missing_docs, unused_variables, clippy::all, clippy::pedantic, reason = "generated code")]

#[allow(unused_imports, reason = "not every message needs every helper")]
pub(crate) mod prelude {
    pub use std::ops::RangeInclusive;

    pub use base::Uuid;
    pub use bytes::Bytes;

    pub(crate) use crate::codec::{
        absent, is_default, present, read_nullable, read_nullable_tagged, write_nullable, write_nullable_tagged,
    };
    pub use crate::{Codec, DecodeError, EncodeError, Message, RawTaggedField, Reader, Str, TagSection, Writer};
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
