//! TCP ports that one test keeps for itself, also while nothing listens there.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below what systems give to those that name no port (from 32768 on Linux, from 49152 elsewhere): a broker that is down
/// loses its port neither to a client's connection nor to another test's listener.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A TCP port of the loopback interface that no other [`Port`] of this machine has as long as it lives.
///
/// The claim is the UDP port of the same number: the system gives it to one process and takes it back however that ends.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// A port on which nobody listens now.
    ///
    /// # Errors
    /// When there is none.
    pub fn claim() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Processes begin in places of their own, so that they seldom meet.
        let own = process::id().wrapping_mul(997);
        for _ in 0..COUNT {
            let offset = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let number = u16::try_from(FIRST + offset)?;
            let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("no port from {FIRST} to {} of 127.0.0.1 is free", FIRST + COUNT - 1)
    }

    /// Its number.
    pub const fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

    use std::collections::BTreeSet;
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn a_port_is_claimed_once_though_nobody_listens_and_is_free_again_afterwards() {
        let ports: Vec<Port> = (0..200).map(|_| Port::claim().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
        let [first, ..] = &*ports else { unreachable!("two hundred were claimed") };
        let address = (Ipv4Addr::LOCALHOST, first.number());
        assert!(TcpStream::connect(address).is_err(), "somebody listens at a port that was free");
        // Many claims later, and with connections made meanwhile, it can still be listened on.
        let listener = TcpListener::bind(address).unwrap();
        drop(listener);
        drop(ports);
        UdpSocket::bind(address).unwrap();
    }
}
