//! The parts of Fetch: sessions, a pass over the partitions, the answer for one of them and its formats, the response's
//! bytes.

pub(crate) mod answer;
pub(crate) mod conversions;
pub(crate) mod encode;
pub(crate) mod leaders;
mod line;
pub(crate) mod read;
pub(crate) mod session;
