//! The seam between connections and requests: a connection knows frames and their order, never what they mean.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base::memory::Charge;
use bytes::Bytes;
use wire::Frame;

use super::peer::Peer;
use super::room::Held;

/// Work that a connection drives to its end.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A response, with what accounts for the memory it pins.
    Frame(Frame, Option<Charge>),
    /// No response is due (Produce with acks 0).
    Nothing,
    /// The connection must be closed.
    Close(CloseReason),
}

/// Why the broker closes a connection; each is a label of the metric and is logged in full once for each detail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CloseReason {
    /// A word from a fixed set.
    pub(crate) kind: &'static str,
    /// What the log says.
    pub(crate) detail: String,
}

/// How a request stands to those before and behind it on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Appends as soon as every append before it has; then waits while later requests go on (Produce).
    Append,
    /// Begins when every earlier reply is out; later appends need not wait for it (Fetch).
    Poll,
    /// Begins when every earlier reply is out; later requests wait for it, as on a Kafka broker.
    Alone,
}

/// What a request costs while it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory, its frame included. More than the frame takes is charged when it is about to be decoded.
    pub(crate) bytes: u64,
    /// Whether it waits when memory is used up, however small it is.
    pub(crate) waits: bool,
}

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// Says how the request in `frame` is ordered, without decoding more than its key.
    fn order(&self, frame: &[u8]) -> Order;

    /// Begins an [`Order::Append`] request: the outer future ends when the append has its place in the log, the inner
    /// one when the reply may be sent. `held` is what the frame was charged, to be settled when it is decoded.
    fn append(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes, held: &Held) -> Later<Later<Reply>>;

    /// Begins any other request. `held` is what its bytes were charged; before it is decoded it has to wait for what it may
    /// decode to ([`Held::decode`]).
    fn answer(self: &Arc<Self>, peer: &Arc<Peer>, frame: Bytes, held: &Held) -> Later<Reply>;

    /// The largest frame `peer` may send.
    fn frame_bytes_max(&self, peer: &Peer) -> usize;

    /// What a frame of `size` bytes that begins with `head` may cost; no less than its size, and no more for an
    /// [`Order::Append`].
    ///
    /// # Errors
    /// The largest size of such a frame, if this one is larger.
    fn admit(&self, head: [u8; 2], size: usize) -> Result<Cost, usize>;
}
