//! The parts of Fetch: sessions, the answer for one partition and its formats, the response's bytes.

pub(crate) mod answer;
pub(crate) mod conversions;
pub(crate) mod encode;
pub(crate) mod leaders;
mod line;
pub(crate) mod session;
