//! Names of the objects of the metadata log. Numbers have a fixed width, so that names sort as numbers do.
//!
//! | Name | Holds |
//! |---|---|
//! | `meta/log/<sequence, 20 digits>` | an entry |
//! | `meta/snapshot/<sequence, 20 digits>` | the image after that entry |
//! | `meta/floor/<range, 20 digits>` | marker: the entries of that range may be deleted |

use base::{MetaSequence, Uuid};

/// Entries in one range: what one floor marker releases for deletion.
pub const RANGE_ENTRIES: u64 = 1024;
/// Prefix of the snapshots.
pub const SNAPSHOTS: &str = "meta/snapshot/";
/// Prefix of the floor markers.
pub const FLOORS: &str = "meta/floor/";

pub(crate) fn entry(sequence: MetaSequence) -> String {
    format!("meta/log/{:020}", sequence.0)
}

/// Written and deleted again, to see whether the way to the store damages what is written.
pub(crate) fn trial(nonce: Uuid) -> String {
    format!("probe/meta-{:032x}", nonce.as_u128())
}

pub(crate) fn snapshot(sequence: MetaSequence) -> String {
    format!("{SNAPSHOTS}{:020}", sequence.0)
}

pub(crate) fn floor(range: u64) -> String {
    format!("{FLOORS}{range:020}")
}

/// The number at the end of a name of ours.
pub(crate) fn number(key: &str, prefix: &str) -> Option<u64> {
    let digits = key.strip_prefix(prefix)?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

pub(crate) fn range_of(sequence: MetaSequence) -> u64 {
    sequence.0 / RANGE_ENTRIES
}
