//! The network side: listeners, connections, frames, and the order of requests. Knows nothing of what requests mean.

pub(crate) mod complaints;
pub(crate) mod connection;
mod inbox;
pub(crate) mod listener;
mod outbox;
pub(crate) mod peer;
mod pipeline;
pub(crate) mod quota;
pub(crate) mod room;
pub(crate) mod service;
mod stray;
#[cfg(test)]
mod tests;
