//! The pages and records of the write-ahead log, and the entries and snapshots of the metadata log.

use base::{BrokerEpoch, BrokerId, Incarnation, MetaSequence, Offset, StreamEpoch, StreamId, TimestampMs, WalPosition};
use bytes::Bytes;
use meta::format;
use stream::catalogue::{Catalogue, snapshot};
use stream::wal::FenceState;
use stream::wal::block::layout::{
    DevicePage, HeaderPage, PAGE, RECORD_HEADER, RecordHeader, SegmentPage, Stamp, TrimPage, fence_page, fence_state,
};
use wire::registry::{Kind, MESSAGES};

const STAMP: Stamp = Stamp { incarnation: Incarnation { broker: BrokerId(1), epoch: BrokerEpoch(2) }, nonce: 3 };
/// Where the checksum of a page stands, of a record, and of an entry of the metadata log.
const PAGE_CRC_AT: usize = 4;
const RECORD_CRC_AT: usize = 24;
const ENTRY_CRC_AT: usize = 48;
const AT: MetaSequence = MetaSequence(7);

/// As each kind of page, and as a record.
pub fn run_wal(input: &Bytes) {
    let mut padded = input[..input.len().min(PAGE)].to_vec();
    padded.resize(PAGE, 0);
    for page in [Some(padded.clone()), crate::sealed(&padded, PAGE_CRC_AT)].into_iter().flatten() {
        if let Ok(header) = HeaderPage::decode(&page) {
            assert_eq!(HeaderPage::decode(&header.encode()).as_ref(), Ok(&header));
        }
        if let Ok(trim) = TrimPage::decode(&page) {
            assert_eq!(TrimPage::decode(&trim.encode()), Ok(trim));
        }
        if let Ok(segment) = SegmentPage::decode(&page) {
            assert_eq!(SegmentPage::decode(&segment.encode()), Ok(segment));
        }
        let _ = (DevicePage::decode(&page), fence_state(&page, STAMP));
        let header = [&page[..], &page, &page, &page].concat();
        let _ = TrimPage::newest(&header, STAMP);
    }
    let sealed = crate::sealed(input, RECORD_CRC_AT);
    for record in [Some(input.to_vec()), sealed].into_iter().flatten() {
        let _ = RecordHeader::decode(STAMP, &record);
    }
}

/// A page of each kind, and a record.
pub fn wal_seeds() -> Vec<Vec<u8>> {
    let header = HeaderPage { stamp: STAMP, segment_bytes: 1 << 20, cluster_id: "cluster".to_owned() };
    let trim = TrimPage { stamp: STAMP, sequence: 4, trimmed: WalPosition(1 << 21), assigned: 5, left: 0 };
    let segment = SegmentPage::InUse { stamp: STAMP, logical: 2 };
    let device = DevicePage { segment_bytes: 1 << 20, segments: 9 };
    let record = RecordHeader {
        sequence: 0,
        position: WalPosition(4096),
        previous: WalPosition(0),
        previous_crc: 0,
        group_offset: 0,
        stream: StreamId(1),
        epoch: StreamEpoch(1),
        base: Offset(0),
        end: Offset(3),
        max_timestamp: TimestampMs(5),
        payload_bytes: 11,
    };
    let mut bytes = vec![0; RECORD_HEADER + 11];
    record.encode(STAMP, std::iter::once(&b"some record"[..]), &mut bytes);
    let fence = fence_page(STAMP, FenceState::Fenced);
    let pages = [header.encode(), trim.encode(), segment.encode(), device.encode(), fence];
    pages.iter().map(|page| page.to_vec()).chain([bytes]).collect()
}

/// As an entry, as a snapshot and as the catalogue in one, with the right checksum.
pub fn run_metadata(input: &Bytes) {
    let sealed = crate::sealed(input, ENTRY_CRC_AT).map(Bytes::from);
    for bytes in [Some(input.clone()), sealed].into_iter().flatten() {
        let _ = format::decode_entry(&bytes, AT);
        if let Ok((_, _, rest)) = format::decode_snapshot(&bytes, AT) {
            // The claims stand between.
            catalogue(rest.get(4..).unwrap_or_default());
        }
    }
    catalogue(input);
}

fn catalogue(bytes: &[u8]) {
    let mut rest = bytes;
    if let Ok(catalogue) = snapshot::decode(&mut rest) {
        let encoded = snapshot::encode(&catalogue);
        let again = snapshot::decode(&mut &encoded[..]).expect("a catalogue reads itself");
        assert_eq!(snapshot::encode(&again), encoded, "a catalogue is not stable");
    }
}

/// An entry and a snapshot with a record of each kind, and a catalogue.
pub fn metadata_seeds() -> Vec<Vec<u8>> {
    let (mut records, mut count) = (Vec::new(), 0_u32);
    for entry in MESSAGES {
        let Kind::Metadata(kind) = entry.kind else { continue };
        let Ok(recoded) = (entry.recode)(Bytes::from_static(&[0; 200]), 0) else { continue };
        let Ok(body) = recoded.encoded else { continue };
        records.extend([kind as u8, 0]);
        records.extend(body.into_bytes());
        count += 1;
    }
    let catalogue = snapshot::encode(&Catalogue::default());
    let of = |magic: &[u8; 4], kind: u8, rest: &[u8]| {
        let mut bytes = magic.to_vec();
        bytes.extend([0, 1, kind, 0]);
        bytes.extend(AT.0.to_be_bytes());
        bytes.extend([0; 24]);
        bytes.extend(count.to_be_bytes());
        bytes.extend((records.len() as u32).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&records);
        bytes.extend(rest);
        crate::sealed(&bytes, ENTRY_CRC_AT).expect("longer than a header")
    };
    vec![of(b"HWML", 1, &[]), of(b"HWMS", 0, &[&[0; 4][..], &catalogue].concat()), catalogue]
}
