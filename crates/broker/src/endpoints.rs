//! Which address a client is told to use.
//!
//! | `advertised.listeners` | `listeners` | The client is told |
//! |---|---|---|
//! | names its listener | | that |
//! | not set | a host | that host, and the port it listens on |
//! | not set | every interface | the address the client dialled |
//!
//! So `0.0.0.0` is never advertised, and one broker without any setting works from the host, from a container and from
//! another machine alike.

use meta::{Image, Leader};

use crate::config::{BrokerConfig, Endpoint};
use crate::core::Core;
use crate::fetch::session::TopicRef;
use crate::net::peer::Peer;

/// This broker's address for `peer`.
pub(crate) fn advertised(config: &BrokerConfig, peer: &Peer) -> (String, i32) {
    let of_listener = |list: &[Endpoint]| list.iter().find(|e| *e.name == *peer.listener).cloned();
    if let Some(endpoint) = of_listener(&config.advertised) {
        return (endpoint.host, endpoint.port.into());
    }
    let port = i32::from(peer.local.port());
    match of_listener(&config.listeners) {
        Some(endpoint) if !endpoint.is_wildcard() => (endpoint.host, port),
        _ => (peer.local.ip().to_canonical().to_string(), port),
    }
}

/// Who leads a partition, as a client is told that looks for its leader (KIP-951).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
}

impl LeaderHint {
    /// By what the broker knows now; `None` while nobody leads it.
    pub(crate) fn of(image: &Image, topic: &TopicRef, index: i32) -> Option<Self> {
        let topic = match topic {
            TopicRef::Name(name) => image.topic(name),
            TopicRef::Id(id) => image.topic_by_id(*id),
        }?;
        let Leader { owner, epoch } = image.leader(*topic.partitions.get(usize::try_from(index).ok()?)?)?;
        Some(Self { id: owner.broker.0, epoch: epoch.0 })
    }
}

/// Where a leader is, for `peer`: whoever Metadata lists.
pub(crate) fn of_leader(core: &Core, peer: &Peer, id: i32) -> Option<(String, i32)> {
    (id == core.id().0).then(|| advertised(&core.config, peer))
}

/// Listeners as keys list them.
pub(crate) fn joined(listeners: &[Endpoint]) -> String {
    listeners.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)], local: &str) -> String {
        let config = BrokerConfig::parse(pairs.iter().copied()).unwrap().config;
        let peer = Peer::new("10.0.0.9:1".parse().unwrap(), local.parse().unwrap(), "PLAINTEXT".into());
        let (host, port) = advertised(&config, &peer);
        format!("{host} {port}")
    }

    #[test]
    fn a_client_is_never_told_a_wildcard() {
        assert_eq!(told(&[], "192.168.1.5:9092"), "192.168.1.5 9092");
        assert_eq!(told(&[("listeners", "PLAINTEXT://0.0.0.0:9092")], "127.0.0.1:9092"), "127.0.0.1 9092");
        assert_eq!(told(&[("listeners", "PLAINTEXT://[::]:9092")], "[::ffff:10.1.1.1]:9092"), "10.1.1.1 9092");
        assert_eq!(told(&[("listeners", "PLAINTEXT://localhost:0")], "127.0.0.1:41234"), "localhost 41234");
        let both = [("listeners", "PLAINTEXT://:9092"), ("advertised.listeners", "PLAINTEXT://b.example:19092")];
        assert_eq!(told(&both, "127.0.0.1:9092"), "b.example 19092");
    }
}
