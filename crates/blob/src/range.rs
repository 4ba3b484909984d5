//! Ranges of bytes asked of an object whose length is known.

use std::ops::Range;

use crate::backend::ReadRange;
use crate::error::StoreError;

/// The bytes that `range` means in an object of `len` bytes, or the short read that it would be.
pub(crate) fn resolve_range(key: &str, range: &ReadRange, len: u64) -> Result<Range<u64>, StoreError> {
    match range {
        ReadRange::Whole => Ok(0..len),
        ReadRange::Bytes(range) if range.end > len => Err(StoreError::ShortRead {
            key: key.to_owned(),
            range: range.clone(),
            got: len.saturating_sub(range.start),
        }),
        ReadRange::Bytes(range) => Ok(range.clone()),
    }
}

/// Refuses ranges that no object can satisfy.
pub(crate) fn check_range(key: &str, range: &ReadRange) -> Result<(), StoreError> {
    match range {
        ReadRange::Bytes(range) if range.start > range.end => Err(StoreError::InvalidInput {
            key: key.to_owned(),
            reason: format!("the range {}..{} runs backwards", range.start, range.end),
        }),
        _ => Ok(()),
    }
}
