//! Loading producer state: the newest checkpoint, then the log from there to where this leader began.
//!
//! Done once, at the first append that needs it. Appends without a producer id need not wait: they do not change the
//! state, so replaying up to the end of the log at opening is enough.

use std::sync::atomic::Ordering;

use base::Offset;
use bytes::{Buf, Bytes};
use records::batch::HEADER_BYTES;
use records::{BatchHeader, RecordsError};

use crate::append::identity;
use crate::error::{AppendError, LoadError};
use crate::limits::SCAN_BYTES;
use crate::partition::Partition;
use crate::producers::Producers;

impl Partition {
    /// Whether an append, with a producer or without, would have to load producer state first.
    pub fn waits_for_load(&self, has_producer: bool) -> bool {
        (has_producer || self.load_wanted.load(Ordering::Acquire)) && self.state.lock().producers.is_none()
    }

    /// Loads producer state unless it is loaded.
    ///
    /// # Errors
    /// When the store failed or holds what cannot be read; a later call tries again.
    pub async fn ready(&self) -> Result<(), AppendError> {
        if self.state.lock().producers.is_some() {
            return Ok(());
        }
        let _loading = self.loading.lock().await;
        if self.state.lock().producers.is_some() {
            return Ok(());
        }
        let producers = self.load().await?;
        self.state.lock().producers = Some(producers);
        self.load_wanted.store(false, Ordering::Release);
        Ok(())
    }

    async fn load(&self) -> Result<Producers, LoadError> {
        let (mut producers, from) = match self.stream.last_checkpoint().await? {
            Some((at, bytes)) => (Producers::from_checkpoint(&bytes, at)?, at),
            None => (Producers::new(), Offset(0)),
        };
        let now = self.shared.clock.now();
        let mut next = from.max(self.log_start());
        while next < self.opened_end {
            let fetched = self.stream.fetch(next, self.opened_end, SCAN_BYTES, true).await?;
            for header in Headers::new(&fetched.slices) {
                let header = header.map_err(|why| LoadError::Log { at: next, why })?;
                if header.is_transactional() || header.is_control() {
                    return Err(LoadError::Transactional(next));
                }
                let last = Offset::from_kafka(header.last_offset()).unwrap_or(next);
                // An entry that a checkpoint covers may come again with its neighbours.
                if let Some(producer) = identity(&header)
                    && last >= from
                {
                    let timestamp = header.max_timestamp.into();
                    producers.record(producer, last, timestamp, now, last + 1);
                }
            }
            if fetched.range.end <= next {
                let why = RecordsError::Malformed("the log holds nothing below its end");
                return Err(LoadError::Log { at: next, why });
            }
            next = fetched.range.end;
        }
        producers.expire(now, self.shared.producer_id_expiration_ms(), self.opened_end);
        Ok(producers)
    }
}

/// The headers of consecutive batches whose bytes are cut into slices anywhere.
struct Headers<'a> {
    slices: std::slice::Iter<'a, Bytes>,
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn new(slices: &'a [Bytes]) -> Self {
        Self { slices: slices.iter(), rest: &[] }
    }

    /// Copies the next bytes into `into`, or passes over `skip` of them; how many there were.
    fn take(&mut self, mut skip: usize, mut into: Option<&mut [u8]>) -> usize {
        let mut taken = 0;
        while skip > 0 {
            if self.rest.is_empty() {
                let Some(slice) = self.slices.next() else { break };
                self.rest = slice;
                continue;
            }
            let some = skip.min(self.rest.len());
            if let Some(out) = into.as_deref_mut() {
                out[taken..taken + some].copy_from_slice(&self.rest[..some]);
            }
            self.rest.advance(some);
            taken += some;
            skip -= some;
        }
        taken
    }
}

impl Iterator for Headers<'_> {
    type Item = Result<BatchHeader, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = [0; HEADER_BYTES];
        let have = self.take(HEADER_BYTES, Some(&mut head));
        if have == 0 {
            return None;
        }
        if have < HEADER_BYTES {
            return Some(Err(RecordsError::Truncated { have, need: HEADER_BYTES }));
        }
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let need = header.batch_bytes() - HEADER_BYTES;
        let have = self.take(need, None);
        if have < need {
            return Some(Err(RecordsError::Truncated { have: have + HEADER_BYTES, need: need + HEADER_BYTES }));
        }
        Some(Ok(header))
    }
}
