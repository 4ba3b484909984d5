//! Configuration: the definitions of every key, the static configuration of the broker, and where the effective value
//! of a key comes from.

pub(crate) mod alter;
pub mod broker_keys;
pub mod define;
pub(crate) mod effective;
pub mod endpoint;
pub mod inert_keys;
pub mod known_keys;
pub mod settings;
pub(crate) mod unserved_keys;

pub use broker_keys::BROKER_KEYS;
pub use define::{Check, ConfigDef, Invalid, Kind, Update};
pub use endpoint::Endpoint;
pub use inert_keys::{INERT_DOC, INERT_KEYS};
pub use settings::{BrokerConfig, ConfigError, Parsed, is_known, suggest};
