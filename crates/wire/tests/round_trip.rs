//! Every message in every version: what is encoded comes back equal, to the last byte.

mod common;

use common::{RANDOM, Source};
use wire::registry::MESSAGES;

const ROUNDS: u64 = 40;

#[test]
fn every_message_comes_back_in_every_version() {
    assert_eq!(MESSAGES.len(), RANDOM.len());
    let mut pairs = 0;
    for (index, (entry, random)) in MESSAGES.iter().zip(RANDOM).enumerate() {
        for version in entry.versions.clone() {
            pairs += 1;
            for round in 0..ROUNDS {
                let seed = (index as u64) << 32 | (version as u64) << 16 | round;
                let what = format!("{} version {version} seed {seed}", entry.name);
                let sample = random(&mut Source::new(seed), version).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(sample.failure, None, "{what}");
                let again = (entry.recode)(sample.bytes.clone(), version).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(again.consumed, sample.bytes.len(), "{what}");
                assert_eq!(again.encoded.unwrap().into_bytes(), sample.bytes, "{what}");
            }
        }
    }
    assert!(pairs > 600, "{pairs} pairs of message and version");
}
