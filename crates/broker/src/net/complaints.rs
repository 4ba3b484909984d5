//! Complaints about clients, each logged in full once: a misconfigured client retries for ever and must not fill the
//! log.

use std::net::SocketAddr;

use base::collections::HashSet;
use parking_lot::Mutex;

use crate::limits::COMPLAINTS_MAX;

/// What was complained about so far.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashSet<(&'static str, String)>>);

impl Complaints {
    /// Logs a complaint as a warning the first time and as a debug line after that. Says whether it was the first.
    pub(crate) fn log(&self, kind: &'static str, detail: &str, listener: &str, remote: Option<SocketAddr>) -> bool {
        let first = {
            let mut known = self.0.lock();
            known.len() < COMPLAINTS_MAX && known.insert((kind, detail.to_owned()))
        };
        let remote = remote.map(|remote| remote.to_string()).unwrap_or_default();
        if first {
            tracing::warn!(kind, listener, remote, "{detail} (said once; later ones only count)");
        } else {
            tracing::debug!(kind, listener, remote, "{detail}");
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_said_once_and_their_number_is_bounded() {
        let complaints = Complaints::default();
        assert!(complaints.log("http", "x", "L", None));
        assert!(!complaints.log("http", "x", "L", None));
        for n in 0..2 * COMPLAINTS_MAX {
            complaints.log("bad", &n.to_string(), "L", None);
        }
        assert_eq!(complaints.0.lock().len(), COMPLAINTS_MAX);
    }
}
