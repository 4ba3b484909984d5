//! The catalogue's section of a metadata snapshot: its whole state in one self-delimiting run of bytes.
//!
//! | Field | Type |
//! |---|---|
//! | format | u16, 1 |
//! | next stream id | u64 |
//! | writers | u32 count, then: broker i32, epoch i64, next commit u64, upload floor u64, fenced u8 |
//! | incarnations | u32 count, then: broker i32, epoch i64, wal kind i8, location text, committed u64, phase u8, taker (i32, i64) if 2, final u64 if 3, reason text if 4 |
//! | objects | u32 count, then: object id, kind i8, length u64, crc u32 |
//! | pending deletions | u32 count, then: object id, retired i64, length u64 |
//! | streams | u32 count, then: id u64, owner (i32, i64), epoch i32, status u8, start u64, end u64, epochs (u32 count; epoch i32, start u64), extents (u32 count; start u64, end u64, epoch i32, object id, max timestamp i64, bytes u64), checkpoint u8 (object id, offset u64 if 1) |
//!
//! Big-endian; an object id is broker i32, epoch i64, sequence u64; a text is a u32 length and UTF-8. Rows are in key
//! order, so equal catalogues have equal bytes. Use counts of objects are not stored: they follow from the streams. The
//! snapshot around the section carries the checksum.

use std::sync::Arc;

use base::{
    BrokerEpoch, BrokerId, Incarnation, ObjectId, Offset, OffsetRange, StreamEpoch, StreamId, TimestampMs, WalPosition,
};
use thiserror::Error;

use super::Catalogue;
use super::extents::Extents;
use super::newest::Newest;
use super::state::{
    Checkpoint, EpochStart, Extent, IncarnationPhase, IncarnationState, ObjectKind, ObjectState, PendingDeletion,
    StreamState, StreamStatus, WalPlace, WriterState,
};

const FORMAT: u16 = 1;

/// Why a catalogue section cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the catalogue section of the snapshot is malformed: {0}")]
pub struct SnapshotError(&'static str);

/// The section of `catalogue`.
pub fn encode(catalogue: &Catalogue) -> Vec<u8> {
    let mut out = Out(Vec::new());
    out.0.extend(FORMAT.to_be_bytes());
    out.u64(catalogue.next_stream);
    out.count(catalogue.writers.len());
    for (broker, writer) in &catalogue.writers {
        out.i32(broker.0);
        out.i64(writer.epoch.0);
        out.u64(writer.next_commit);
        out.u64(writer.upload_floor);
        out.0.push(u8::from(writer.fenced));
    }
    out.count(catalogue.incarnations.len());
    for (id, state) in &catalogue.incarnations {
        out.incarnation(*id);
        out.0.push(state.wal.kind.cast_unsigned());
        out.text(&state.wal.location);
        out.u64(state.committed.0);
        out.phase(&state.phase);
    }
    out.count(catalogue.objects.len());
    for (id, state) in &catalogue.objects {
        out.object(*id);
        out.0.push(state.kind.code().cast_unsigned());
        out.u64(state.length);
        out.0.extend(state.crc.to_be_bytes());
    }
    // Planted: what waits for its deletion is forgotten.
    let is_left_out = base::plant::bug("snapshot-forgets-pending");
    out.count(if is_left_out { 0 } else { catalogue.pending.len() });
    for (id, pending) in catalogue.pending.iter().filter(|_| !is_left_out) {
        out.object(*id);
        out.i64(pending.retired_at.0);
        out.u64(pending.length);
    }
    out.count(catalogue.streams.len());
    for (id, state) in &catalogue.streams {
        out.stream(*id, state);
    }
    out.0
}

/// Reads a section from the start of `bytes` and moves past it.
///
/// # Errors
/// When it is cut short or says something impossible.
pub fn decode(bytes: &mut &[u8]) -> Result<Catalogue, SnapshotError> {
    let mut input = In(bytes);
    if input.array::<2>()? != FORMAT.to_be_bytes() {
        return Err(SnapshotError("unknown format; a newer release wrote it"));
    }
    let mut catalogue = Catalogue { next_stream: input.u64()?, ..Catalogue::default() };
    for _ in 0..input.count()? {
        let broker = BrokerId(input.i32()?);
        let writer = WriterState {
            epoch: BrokerEpoch(input.i64()?),
            next_commit: input.u64()?,
            upload_floor: input.u64()?,
            fenced: input.u8()? != 0,
        };
        catalogue.writers.insert(broker, writer);
    }
    for _ in 0..input.count()? {
        let id = input.incarnation()?;
        let wal = WalPlace { kind: input.u8()?.cast_signed(), location: input.text()? };
        let committed = WalPosition(input.u64()?);
        let phase = input.phase()?;
        catalogue.incarnations.insert(id, Arc::new(IncarnationState { wal, phase, committed }));
    }
    for _ in 0..input.count()? {
        let id = input.object()?;
        let kind = ObjectKind::from_code(input.u8()?.cast_signed()).ok_or(SnapshotError("unknown object kind"))?;
        let state = ObjectState { kind, length: input.u64()?, crc: u32::from_be_bytes(input.array()?), live: 0 };
        catalogue.objects.insert(id, state);
        catalogue.unreferenced.insert(id);
    }
    for _ in 0..input.count()? {
        let id = input.object()?;
        let pending = PendingDeletion { retired_at: TimestampMs(input.i64()?), length: input.u64()? };
        catalogue.pending.insert(id, pending);
    }
    for _ in 0..input.count()? {
        let (id, state) = input.stream()?;
        let uses = state.extents().map(|e| e.object).chain(state.checkpoint.map(|c| c.object));
        for object in uses {
            let held = catalogue.objects.get_mut(&object).ok_or(SnapshotError("a stream names an unknown object"))?;
            held.live += 1;
            catalogue.unreferenced.remove(&object);
        }
        catalogue.streams.insert(id, Arc::new(state));
    }
    *bytes = input.0;
    Ok(catalogue)
}

struct Out(Vec<u8>);

impl Out {
    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.0.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn incarnation(&mut self, id: Incarnation) {
        self.i32(id.broker.0);
        self.i64(id.epoch.0);
    }

    fn object(&mut self, id: ObjectId) {
        self.incarnation(id.writer);
        self.u64(id.sequence);
    }

    fn phase(&mut self, phase: &IncarnationPhase) {
        match phase {
            IncarnationPhase::Open => self.0.push(0),
            IncarnationPhase::Fenced => self.0.push(1),
            IncarnationPhase::Assigned(taker) => {
                self.0.push(2);
                self.incarnation(*taker);
            }
            IncarnationPhase::Recovered { final_position } => {
                self.0.push(3);
                self.u64(final_position.0);
            }
            IncarnationPhase::Damaged { reason } => {
                self.0.push(4);
                self.text(reason);
            }
            IncarnationPhase::Abandoned => self.0.push(5),
        }
    }

    fn stream(&mut self, id: StreamId, state: &StreamState) {
        self.u64(id.0);
        self.incarnation(state.owner);
        self.i32(state.epoch.0);
        self.0.push(u8::from(state.status == StreamStatus::Closed));
        self.u64(state.start.0);
        self.u64(state.end.0);
        self.count(state.epochs.len());
        for epoch in &state.epochs {
            self.i32(epoch.epoch.0);
            self.u64(epoch.start.0);
        }
        self.count(state.extents.len());
        for extent in state.extents.iter() {
            self.u64(extent.range.start.0);
            self.u64(extent.range.end.0);
            self.i32(extent.epoch.0);
            self.object(extent.object);
            self.i64(extent.newest.raw());
            self.u64(extent.bytes);
        }
        match state.checkpoint {
            None => self.0.push(0),
            Some(checkpoint) => {
                self.0.push(1);
                self.object(checkpoint.object);
                self.u64(checkpoint.offset.0);
            }
        }
    }
}

struct In<'a>(&'a [u8]);

impl In<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError("it ends early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, SnapshotError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn i32(&mut self) -> Result<i32, SnapshotError> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, SnapshotError> {
        self.array().map(i64::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A count of rows. Nothing is reserved on its word: rows are read one by one until the bytes end.
    fn count(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Result<Arc<str>, SnapshotError> {
        let length = self.count()? as usize;
        let (text, rest) = self.0.split_at_checked(length).ok_or(SnapshotError("it ends early"))?;
        self.0 = rest;
        std::str::from_utf8(text).map(Arc::from).map_err(|_| SnapshotError("a text is not UTF-8"))
    }

    fn incarnation(&mut self) -> Result<Incarnation, SnapshotError> {
        Ok(Incarnation { broker: BrokerId(self.i32()?), epoch: BrokerEpoch(self.i64()?) })
    }

    fn object(&mut self) -> Result<ObjectId, SnapshotError> {
        Ok(ObjectId { writer: self.incarnation()?, sequence: self.u64()? })
    }

    fn phase(&mut self) -> Result<IncarnationPhase, SnapshotError> {
        Ok(match self.u8()? {
            0 => IncarnationPhase::Open,
            1 => IncarnationPhase::Fenced,
            2 => IncarnationPhase::Assigned(self.incarnation()?),
            3 => IncarnationPhase::Recovered { final_position: WalPosition(self.u64()?) },
            4 => IncarnationPhase::Damaged { reason: self.text()? },
            5 => IncarnationPhase::Abandoned,
            _ => return Err(SnapshotError("unknown incarnation phase")),
        })
    }

    fn stream(&mut self) -> Result<(StreamId, StreamState), SnapshotError> {
        let id = StreamId(self.u64()?);
        let mut state = StreamState::never_opened();
        state.owner = self.incarnation()?;
        state.epoch = StreamEpoch(self.i32()?);
        state.status = if self.u8()? == 0 { StreamStatus::Open } else { StreamStatus::Closed };
        state.start = Offset(self.u64()?);
        state.end = Offset(self.u64()?);
        for _ in 0..self.count()? {
            state.epochs.push(EpochStart { epoch: StreamEpoch(self.i32()?), start: Offset(self.u64()?) });
        }
        state.epochs.shrink_to_fit();
        let mut extents = Extents::default();
        for _ in 0..self.count()? {
            extents.push(Extent {
                range: OffsetRange::new(Offset(self.u64()?), Offset(self.u64()?)),
                epoch: StreamEpoch(self.i32()?),
                object: self.object()?,
                newest: Newest::from_raw(self.i64()?),
                bytes: self.u64()?,
            });
        }
        state.extents = extents;
        if self.u8()? != 0 {
            state.checkpoint = Some(Checkpoint { object: self.object()?, offset: Offset(self.u64()?) });
        }
        Ok((id, state))
    }
}
