//! The named bounds of the console (I-10).

use std::time::Duration;

/// Connections at a time; who comes then has the place of one that asks for nothing, if there is one, or waits to be
/// accepted. The HTTP library reads no more than some 400 KiB of a
/// request.
pub const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for a request, the time before it included, and again for taking the answer. No usual
/// interval of scraping: a client would use a connection again that is just being closed.
pub const CLIENT_WAIT_MAX: Duration = Duration::from_secs(20);

/// How long a connection may at least ask for nothing though somebody waits for its place.
pub const CROWDED_WAIT: Duration = Duration::from_millis(100);

/// Pages of metrics in memory; each may have several MB. Requests for further ones wait.
pub const PAGES_MAX: usize = 4;

/// How long a page may at least keep its place though somebody waits for it and its client takes next to nothing, and a
/// request for one its connection though somebody waits for that, ...
pub const PAGE_CROWDED_WAIT: Duration = Duration::from_secs(1);

/// ... which is less than so many bytes in that time.
pub const PAGE_TAKEN_MIN: usize = 64 << 10;

/// Wait after an accept that failed, which is most often for want of descriptors.
pub const ACCEPT_RETRY: Duration = Duration::from_secs(1);
