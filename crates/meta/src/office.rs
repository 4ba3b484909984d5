//! Writing under a claim: entries, and what their writer does about names that it burns.
//!
//! A create that arrives damaged leaves a name that nobody can use or free. Its writer alone knows that nobody was told of
//! it: it claims the office anew behind the name, with a [`VoidEntryRecord`], and decides again what it had decided. Until
//! that claim stands the outcome of the burnt entry is open: it may be whole, and only its reading damaged (I-6).
//!
//! A claimant checks the floor after its create (I-7), whichever claim it is. Before it risks another name it waits until
//! the way to the store is seen to let a write pass, so that a way that damages everything burns few.

use base::{ControllerEpoch, MetaSequence};
use blob::Purpose;
use bytes::Bytes;
use wire::meta::{ControllerRecord, MetadataRecord, VoidEntryRecord};

use crate::error::{LogLost, MetaError, Unfit};
use crate::format::{EncodedRecords, EntryKind, Header, decode_entry, encode_entry};
use crate::image::Image;
use crate::log::{Appended, BACKOFF_MAX, BACKOFF_MIN, Log, VOID_NAMES_MAX};
use crate::names;

/// A written entry.
#[derive(Debug)]
pub(crate) struct Written {
    /// The image after it.
    pub(crate) image: Image,
    /// Its size.
    pub(crate) bytes: usize,
}

/// What became of a batch that was written.
#[derive(Debug)]
pub(crate) enum Batched {
    /// It stands.
    Stands(Written),
    /// It burnt its name and has no effect; behind it stands a claim. It may be decided again.
    Void(Written),
}

/// Why an entry does not stand.
#[derive(Debug)]
pub(crate) enum Loss {
    /// Another's stands at this name, and it certainly has no effect.
    Another(MetaSequence),
    /// Another's stands at this name or behind it, and it may have had an effect.
    Unsure(MetaSequence),
    /// What stands at this name cannot be read.
    Unreadable(MetaSequence),
    /// Planted: nobody knows what became of it.
    GivenUp(MetaSequence),
    /// It cannot be written at all, and certainly has no effect.
    Unfit(Unfit),
}

impl From<Loss> for MetaError {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Another(place) => Self::Fenced(format!("entry {place} is another's").into()),
            Loss::Unsure(place) => Self::OutcomeUnknown(format!("entry {place} is another's or is gone").into()),
            Loss::Unreadable(place) => Self::Unreadable(LogLost::Unreadable(place)),
            Loss::GivenUp(place) => Self::GivenUp(place),
            Loss::Unfit(unfit) => Self::Unfit(unfit),
        }
    }
}

fn unfit(reason: impl ToString) -> Loss {
    Loss::Unfit(Unfit::because(reason))
}

/// Takes the office with `claim`, whose term must follow that of the image. `void` are names behind the image that this
/// process has burnt, and `burnt_bytes` the size of the largest entry that was.
pub(crate) async fn claim(
    log: &Log,
    image: &Image,
    claim: ControllerRecord,
    mut void: Vec<VoidEntryRecord>,
    mut burnt_bytes: usize,
) -> Result<Written, Loss> {
    let first = image.next_sequence;
    // Room is left for an operator's claim, which calls these names void together with those that it burns itself.
    let burnt_max = (void.len() + VOID_NAMES_MAX / 2).min(VOID_NAMES_MAX - 2);
    let mut wait = BACKOFF_MIN;
    loop {
        let place = MetaSequence(first.0 + void.len() as u64);
        let (epoch, nonce) = (ControllerEpoch(claim.controller_epoch), claim.nonce);
        let header = Header { kind: EntryKind::Claim, sequence: place, epoch, nonce };
        let mut records = vec![MetadataRecord::from(claim.clone())];
        records.extend(void.iter().cloned().map(MetadataRecord::from));
        let mut next = image.clone();
        next.replay_entry(&header, &records).map_err(unfit)?;
        let bytes = encode_entry(&header, &EncodedRecords::of(&records).map_err(unfit)?);
        if let Some(burnt) = void.last() {
            tracing::error!(
                entry = burnt.sequence,
                "a metadata entry cannot be read; it is called void by the next one, as soon as a write passes whole"
            );
            wait_for_a_whole_write(log, &claim, &bytes, burnt_bytes).await;
        }
        match log.append(place, &bytes).await {
            Appended::Won => {
                check_floor(log, place).await?;
                return Ok(Written { image: next, bytes: bytes.len() });
            }
            // What was burnt before may be whole, and stand by what follows it.
            Appended::Lost if void.is_empty() => return Err(Loss::Another(place)),
            Appended::Lost | Appended::LostUnsure => return Err(Loss::Unsure(place)),
            Appended::Burnt { .. } if void.len() >= burnt_max => return Err(Loss::Unreadable(place)),
            Appended::Burnt { crc } => {
                void.push(void_entry(place, crc));
                burnt_bytes = burnt_bytes.max(bytes.len());
            }
            Appended::Unreadable => return Err(Loss::Unreadable(place)),
            Appended::GivenUp => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

/// The image after a batch of these records, which comes next.
pub(crate) fn replayed(image: &Image, records: &EncodedRecords) -> Result<Image, Unfit> {
    let (sequence, epoch, nonce) = (image.next_sequence, image.controller_epoch, image.controller_nonce);
    let header = Header { kind: EntryKind::Batch, sequence, epoch, nonce };
    let (_, decoded) = decode_entry(&encode_entry(&header, records), sequence).map_err(Unfit::because)?;
    let mut next = image.clone();
    next.replay_entry(&header, &decoded).map_err(Unfit::because)?;
    Ok(next)
}

/// Writes a batch of the controller in office; `after` is the image with its records.
pub(crate) async fn write(
    log: &Log,
    image: &Image,
    records: &EncodedRecords,
    mut after: Image,
) -> Result<Batched, Loss> {
    let (sequence, epoch, nonce) = (image.next_sequence, image.controller_epoch, image.controller_nonce);
    let bytes = encode_entry(&Header { kind: EntryKind::Batch, sequence, epoch, nonce }, records);
    match log.append(sequence, &bytes).await {
        Appended::Won => {
            after.next_sequence = MetaSequence(sequence.0 + 1);
            Ok(Batched::Stands(Written { image: after, bytes: bytes.len() }))
        }
        Appended::Lost => Err(Loss::Another(sequence)),
        Appended::LostUnsure => Err(Loss::Unsure(sequence)),
        Appended::Unreadable => Err(Loss::Unreadable(sequence)),
        Appended::GivenUp => Err(Loss::GivenUp(sequence)),
        Appended::Burnt { crc } => {
            let claimed = match image.controller.as_deref() {
                Some(present) => {
                    let again = ControllerRecord { controller_epoch: epoch.0 + 1, ..present.clone() };
                    claim(log, image, again, vec![void_entry(sequence, crc)], bytes.len()).await
                }
                None => Err(unfit("nobody is in office")),
            };
            claimed.map(Batched::Void).map_err(|loss| match loss {
                // The entry may be whole, and no claim says that it is not: this is no refusal, which has no effect.
                Loss::Unfit(unfit) => {
                    tracing::error!(entry = %sequence, %unfit, "a burnt metadata entry cannot be called void");
                    Loss::Unreadable(sequence)
                }
                loss => loss,
            })
        }
    }
}

pub(crate) fn void_entry(place: MetaSequence, crc: u32) -> VoidEntryRecord {
    VoidEntryRecord { sequence: place.0.cast_signed(), crc, ..Default::default() }
}

/// The claimant's floor check: a name below the floor was free because its entry had been deleted.
async fn check_floor(log: &Log, place: MetaSequence) -> Result<(), Loss> {
    let mut wait = BACKOFF_MIN;
    loop {
        match log.is_cut(place).await {
            Ok(false) => return Ok(()),
            Ok(true) => return Err(Loss::Unsure(place)),
            Err(error) => tracing::warn!(%error, "looking for the floor of the metadata log failed; retrying"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
}

/// Returns once these bytes, repeated until they are `burnt_bytes`, have arrived as they were sent, under a name that does
/// not matter: a way may damage only what is large.
async fn wait_for_a_whole_write(log: &Log, claim: &ControllerRecord, bytes: &Bytes, burnt_bytes: usize) {
    let name = names::trial(claim.nonce);
    let bytes = Bytes::from(bytes.repeat(burnt_bytes.div_ceil(bytes.len().max(1)).max(1)));
    let mut wait = BACKOFF_MIN;
    while let Err(error) = log.store.put(Purpose::Metadata, &name, bytes.clone()).await {
        tracing::warn!(%error, "no write to the store passes whole; the metadata log waits for one");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
    if let Err(error) = log.store.delete(Purpose::Metadata, &[name]).await {
        tracing::debug!(%error, "what was written for a trial could not be deleted");
    }
}
