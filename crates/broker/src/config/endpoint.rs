//! Listener addresses: `NAME://host:port`, and the other compound values of network keys.

use std::fmt;
use std::net::IpAddr;

use base::collections::HashMap;

/// One listener or advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, in upper case.
    pub name: String,
    /// A host name or address without brackets; empty means every interface.
    pub host: String,
    /// The port; 0 lets the operating system choose.
    pub port: u16,
}

impl Endpoint {
    /// Parses `NAME://host:port`; an IPv6 host stands in brackets.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NAME://host:port, for example PLAINTEXT://0.0.0.0:9092");
        let (name, address) = text.split_once("://").ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(format!("an IPv6 host stands in brackets: {text:?}")),
            None => host,
        };
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !named {
            return Err(wrong());
        }
        let port = port.parse().map_err(|_| format!("{port:?} is not a port in {text:?}"))?;
        Ok(Self { name: name.to_ascii_uppercase(), host: host.to_owned(), port })
    }

    /// Parses a list separated by commas.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let list: Vec<Self> = items(text).map(Self::parse).collect::<Result<_, _>>()?;
        if list.is_empty() {
            return Err("at least one listener is needed, for example PLAINTEXT://:9092".to_owned());
        }
        for (position, endpoint) in list.iter().enumerate() {
            if list[..position].iter().any(|earlier| earlier.name == endpoint.name) {
                return Err(format!("the listener name {} occurs twice", endpoint.name));
            }
        }
        Ok(list)
    }

    /// Whether the host names no particular machine.
    pub fn is_wildcard(&self) -> bool {
        self.host.is_empty() || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(crate) fn check_listeners(text: &str) -> Result<(), String> {
    Endpoint::parse_list(text).map(drop)
}

pub(crate) fn check_advertised(text: &str) -> Result<(), String> {
    let list = Endpoint::parse_list(text)?;
    match list.iter().find(|endpoint| endpoint.is_wildcard()) {
        Some(endpoint) => Err(format!(
            "{endpoint} names no machine that a client could reach; write a host name or address, or remove the key \
             and clients are told the address they dialled"
        )),
        None => match list.iter().find(|endpoint| endpoint.port == 0) {
            Some(endpoint) => Err(format!("{endpoint} has no port")),
            None => Ok(()),
        },
    }
}

/// Parses `NAME:PROTOCOL` pairs into the protocol of each listener name.
pub(crate) fn protocols(text: &str) -> Result<HashMap<String, String>, String> {
    items(text)
        .map(|pair| {
            let (name, protocol) = pair.split_once(':').ok_or_else(|| format!("{pair:?} is not NAME:PROTOCOL"))?;
            Ok((name.trim().to_ascii_uppercase(), protocol.trim().to_ascii_uppercase()))
        })
        .collect()
}

pub(crate) fn check_protocol_map(text: &str) -> Result<(), String> {
    const KNOWN: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
    match protocols(text)?.values().find(|protocol| !KNOWN.contains(&protocol.as_str())) {
        Some(protocol) => Err(format!("{protocol:?} is not one of {}", KNOWN.join(", "))),
        None => Ok(()),
    }
}

/// Parses `address:number` pairs; an IPv6 address may stand in brackets.
pub(crate) fn per_ip_overrides(text: &str) -> Result<HashMap<IpAddr, usize>, String> {
    items(text)
        .map(|pair| {
            let wrong = || format!("{pair:?} is not address:number");
            let (ip, number) = pair.rsplit_once(':').ok_or_else(wrong)?;
            let ip = ip.trim_start_matches('[').trim_end_matches(']');
            Ok((ip.parse().map_err(|_| wrong())?, number.trim().parse().map_err(|_| wrong())?))
        })
        .collect()
}

pub(crate) fn check_per_ip_overrides(text: &str) -> Result<(), String> {
    per_ip_overrides(text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_kafka_writes_them() {
        let fine = [
            ("PLAINTEXT://:9092", "PLAINTEXT", "", 9092),
            ("client-1://example.org:19092", "CLIENT-1", "example.org", 19092),
            ("PLAINTEXT://[::1]:9092", "PLAINTEXT", "::1", 9092),
        ];
        for (text, name, host, port) in fine {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.name.as_str(), endpoint.host.as_str(), endpoint.port), (name, host, port), "{text}");
        }
        for text in ["9092", "PLAINTEXT://host", "PLAINTEXT://::1:9092", "PLAINTEXT://h:99999", "://h:1", "A B://h:1"] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_is_never_advertised() {
        for text in ["PLAINTEXT://0.0.0.0:9092", "PLAINTEXT://:9092", "PLAINTEXT://[::]:9092"] {
            assert!(check_advertised(text).unwrap_err().contains("dialled"), "{text}");
        }
        assert!(check_advertised("PLAINTEXT://broker.example:9092").is_ok());
    }

    #[test]
    fn limits_for_single_addresses_are_read() {
        let limits = per_ip_overrides("10.0.0.1:5, [::1]:7").unwrap();
        assert_eq!(limits[&"10.0.0.1".parse::<IpAddr>().unwrap()], 5);
        assert_eq!(limits[&"::1".parse::<IpAddr>().unwrap()], 7);
        assert!(per_ip_overrides("host:5").is_err());
    }
}
