//! The two records around a snapshot, between which decisions may stand, too. Their type number is none of Kafka's, so that its tools pass them over.
//!
//! | Part | Bytes | Field |
//! |---|---|---|
//! | key | 2 | record type: 18,519 (`HW`) |
//! | | 1 | layout: 0 |
//! | | 1 | 0 begin, 1 end |
//! | value | 2 | version: 0 |
//! | | 8 | snapshot id: the offset up to which the shard had replayed when it began |
//! | | 8 | end: how many records it has; begin: how many the state had |
//!
//! All integers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};

use super::Record;

/// The record type of markers.
pub const MARKER_TYPE: i16 = i16::from_be_bytes(*b"HW");
const LAYOUT: u8 = 0;
const VERSION: i16 = 0;
const KEY_BYTES: usize = 4;
const VALUE_BYTES: usize = 18;

/// A marker record's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which of the two.
    pub edge: Edge,
    /// Which snapshot; unlike that of every other snapshot of the log that was begun at another offset.
    pub snapshot: i64,
    /// Records of the snapshot at its end, of the state at its beginning.
    pub records: i64,
}

/// Which end of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Its records follow.
    Begin,
    /// Its records are before.
    End,
}

impl Marker {
    /// The record.
    pub fn encode(self) -> Record {
        let mut key = BytesMut::with_capacity(KEY_BYTES);
        key.put_i16(MARKER_TYPE);
        key.put_u8(LAYOUT);
        key.put_u8(u8::from(self.edge == Edge::End));
        let mut value = BytesMut::with_capacity(VALUE_BYTES);
        value.put_i16(VERSION);
        value.put_i64(self.snapshot);
        value.put_i64(self.records);
        Record { key: key.freeze(), value: Some(value.freeze()) }
    }

    /// Reads a marker; `None` for every other record, and for markers of a layout that this release does not know: they
    /// only shorten loads.
    pub fn decode(record: &Record) -> Option<Self> {
        let kind = MARKER_TYPE.to_be_bytes();
        let edge = match *record.key {
            [a, b, LAYOUT, 0] if [a, b] == kind => Edge::Begin,
            [a, b, LAYOUT, 1] if [a, b] == kind => Edge::End,
            _ => return None,
        };
        let value: &[u8; VALUE_BYTES] = record.value.as_deref()?.try_into().ok()?;
        let (version, rest) = value.split_first_chunk()?;
        let (snapshot, rest) = rest.split_first_chunk()?;
        let records = rest.first_chunk()?;
        (i16::from_be_bytes(*version) == VERSION).then_some(Self {
            edge,
            snapshot: i64::from_be_bytes(*snapshot),
            records: i64::from_be_bytes(*records),
        })
    }
}

/// Whether a key is a marker's, of whatever layout.
pub(crate) fn is_marker(key: &Bytes) -> bool {
    key.starts_with(&MARKER_TYPE.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_documented_one() {
        let marker = Marker { edge: Edge::End, snapshot: 0x0102, records: 3 };
        let record = marker.encode();
        assert_eq!(*record.key, [0x48, 0x57, 0, 1]);
        let value = record.value.clone().unwrap();
        assert_eq!(*value, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(Marker::decode(&record), Some(marker));
        let begin = Marker { edge: Edge::Begin, ..marker };
        assert_eq!(Marker::decode(&begin.encode()), Some(begin));
    }

    #[test]
    fn other_records_and_unknown_layouts_are_no_markers() {
        let marker = Marker { edge: Edge::End, snapshot: 1, records: 3 }.encode();
        let key = |bytes: &'static [u8]| Record { key: Bytes::from_static(bytes), ..marker.clone() };
        for other in [&b"\0\x01abcd"[..], b"HW\x01\x00", b"HW\x00\x02", b"HW", b""] {
            assert_eq!(Marker::decode(&key(other)), None);
        }
        let value = |bytes: &'static [u8]| Record { value: Some(Bytes::from_static(bytes)), ..marker.clone() };
        assert_eq!(Marker::decode(&value(&[0; 17])), None);
        assert_eq!(Marker::decode(&value(&[1; 18])), None);
        assert_eq!(Marker::decode(&Record { value: None, ..marker }), None);
    }
}
