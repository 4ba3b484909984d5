//! The randomness port: nonces and ids.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// A source of random bits.
pub trait RandomSource: Send + Sync + fmt::Debug {
    /// 128 random bits.
    fn next_u128(&self) -> u128;
}

/// A shared handle on a [`RandomSource`].
#[derive(Clone, Debug)]
pub struct Entropy(Arc<dyn RandomSource>);

impl Entropy {
    /// The operating system's random numbers.
    pub fn system() -> Self {
        Self(Arc::new(System))
    }

    /// Randomness from a source of the caller's.
    pub fn from_source(source: Arc<dyn RandomSource>) -> Self {
        Self(source)
    }

    /// A random 64-bit number.
    pub fn next_u64(&self) -> u64 {
        self.0.next_u128() as u64
    }

    /// A random (version 4) UUID whose text form never starts with `-`, as Kafka's `Uuid.randomUuid`.
    pub fn uuid(&self) -> Uuid {
        loop {
            let id = uuid::Builder::from_random_bytes(self.0.next_u128().to_be_bytes()).into_uuid();
            // The first six bits are the first character of Kafka's base64url form; 62 is `-`.
            if id.as_bytes()[0] >> 2 != 62 {
                return id;
            }
        }
    }
}

#[derive(Debug)]
struct System;

impl RandomSource for System {
    #[allow(clippy::disallowed_methods, reason = "this is the home of randomness")]
    fn next_u128(&self) -> u128 {
        // Version 4 UUIDs carry 122 random bits; two of them give 128.
        Uuid::new_v4().as_u128() ^ Uuid::new_v4().as_u128().rotate_left(64)
    }
}
