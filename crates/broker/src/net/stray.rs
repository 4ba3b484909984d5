//! Other protocols that knock at the Kafka port: they get an answer they understand, or the log says what happened.

use bytes::Bytes;

/// A protocol that is not Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    /// A browser, curl, a health check.
    Http,
    /// A Kafka client set to SSL, or HTTPS.
    Tls,
}

/// Recognises a stray protocol in the first bytes of a connection. None of them can begin a Kafka frame that passes
/// the size limit: the smallest, a TLS record, would announce 369 MB.
pub(crate) fn recognise(first: &[u8]) -> Option<Stray> {
    const METHODS: [&[u8; 4]; 9] = [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];
    let head = first.first_chunk::<4>()?;
    if METHODS.contains(&head) {
        return Some(Stray::Http);
    }
    // A TLS handshake record: type 22, version 3.0 to 3.4.
    (head[0] == 0x16 && head[1] == 3 && head[2] <= 4).then_some(Stray::Tls)
}

impl Stray {
    /// What to answer before closing.
    pub(crate) fn answer(self, console: Option<&str>) -> Bytes {
        match self {
            Self::Http => {
                let console = console.map(|url| format!("The console is at {url}\n")).unwrap_or_default();
                let page = format!(
                    "This is a Kafka port: it speaks the Kafka protocol, not HTTP.\n\
                     Point a Kafka client at this address (bootstrap.servers).\n{console}"
                );
                Bytes::from(format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{page}",
                    page.len()
                ))
            }
            // A fatal handshake_failure alert, so that the client says "handshake failure" at once.
            Self::Tls => Bytes::from_static(&[0x15, 3, 1, 0, 2, 2, 40]),
        }
    }

    /// The label of the metric.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
        }
    }

    /// What the log says, with the fix.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Http => {
                "an HTTP request arrived on the Kafka port; point HTTP clients and health checks at the console port"
            }
            Self::Tls => {
                "a TLS handshake arrived on a PLAINTEXT listener; set security.protocol=PLAINTEXT in the client \
                 (SASL_SSL and SSL need a TLS listener)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_and_tls_are_recognised_and_kafka_is_not() {
        assert_eq!(recognise(b"GET / HTTP/1.1\r\n"), Some(Stray::Http));
        assert_eq!(recognise(&[0x16, 3, 1, 2, 0, 1]), Some(Stray::Tls));
        assert_eq!(recognise(&[0, 0, 0, 20, 0, 18, 0, 4]), None);
        assert_eq!(recognise(b"GE"), None);
    }
}
