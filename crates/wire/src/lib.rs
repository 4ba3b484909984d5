//! The bytes of everything that crosses a process or time boundary: Kafka's requests and responses, the records of its
//! internal topics, the records of our own metadata log, and what our brokers ask each other.
//!
//! Place in the flow: a connection's bytes become frames, frames become messages here, and handlers see only typed
//! messages; answers go back the same way. One schema language (`schemas/`) describes all of it and the build script
//! (`build/`) turns it into the structs of the generated modules.
//!
//! Invariants:
//! - No input makes this crate panic or reserve memory that the input's own length does not justify.
//! - Decoding slices the received buffer and encoding shares large byte strings: record batches are never copied.
//! - Bytes agree with Kafka's own codec, 3.9 and 4.4, in every version of every message.

mod api_key;
mod codec;
mod error;
mod error_code;
mod reader;
mod text;
mod writer;

pub mod broker;
pub mod fetch;
pub mod frame;
pub mod header;
pub mod messages;
pub mod meta;
pub mod produce;
pub mod records;
pub mod registry;

pub use api_key::{ApiKey, UnknownApiKey};
pub use codec::{Codec, Message, Request};
pub use error::{DecodeError, EncodeError};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use reader::{RawTaggedField, Reader, STRING_BYTES_MAX, decoded_bytes_max};
pub use text::Str;
pub use writer::{Frame, SHARE_BYTES_MIN, TagSection, Writer};
