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

use crate::config::{BrokerConfig, Endpoint};
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
