//! Golden bytes of every page and of a record, and what a flipped bit does to them.

use super::*;

fn stamp() -> Stamp {
    Stamp { incarnation: Incarnation { broker: BrokerId(7), epoch: BrokerEpoch(300) }, nonce: 0x0102_0304_0506_0708 }
}

/// Everything that the log writes, one after another: header page, trim page, fence page open and fenced, segment page,
/// device page, record.
fn written() -> Vec<u8> {
    let header = HeaderPage { stamp: stamp(), segment_bytes: 64 << 20, cluster_id: "abc".into() };
    let trim = TrimPage { stamp: stamp(), sequence: 3, trimmed: WalPosition(0x1234), assigned: 2, left: 0 };
    let segment = SegmentPage::InUse { stamp: stamp(), logical: 5 };
    let device = DevicePage { segment_bytes: 1 << 20, segments: 9 };
    let mut bytes = [
        header.encode(),
        trim.encode(),
        fence_page(stamp(), FenceState::Open),
        fence_page(stamp(), FenceState::Fenced),
        segment.encode(),
        device.encode(),
    ]
    .concat();
    bytes.extend(record().1);
    bytes
}

/// The bytes of format 1. A change here is a new format version, not a new golden file.
#[test]
fn format_1_is_these_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wal-1.bin");
    if std::env::var_os("HEADWATER_WRITE_GOLDEN").is_some() {
        std::fs::write(path, written()).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert_eq!(golden, written());

    // CRCs computed by a CRC-32C that is not ours.
    let crcs = ["4ad2d377", "d6fa566a", "e4e651cb", "d17557a9", "10276eae", "6449e6a7"];
    for (page, crc) in golden.chunks(PAGE).zip(crcs) {
        assert_eq!(hex(&page[4..8]), crc);
    }
    assert_eq!(hex(&golden[6 * PAGE..][RECORD_CRC]), "95b7db09");

    let page = |n: usize| &golden[n * PAGE..(n + 1) * PAGE];
    assert_eq!(HeaderPage::decode(page(0)).unwrap().cluster_id, "abc");
    assert_eq!(TrimPage::decode(page(1)).unwrap().trimmed, WalPosition(0x1234));
    assert_eq!(fence_state(page(2), stamp()), FenceState::Open);
    assert_eq!(fence_state(page(3), stamp()), FenceState::Fenced);
    assert_eq!(SegmentPage::decode(page(4)), Ok(SegmentPage::InUse { stamp: stamp(), logical: 5 }));
    assert_eq!(SegmentPage::decode(&SegmentPage::Free.encode()), Ok(SegmentPage::Free));
    assert_eq!(SegmentPage::decode(&[0; PAGE]), Ok(SegmentPage::Free));
    assert_eq!(DevicePage::decode(page(5)), Ok(DevicePage { segment_bytes: 1 << 20, segments: 9 }));
    let (header, _, crc) = record();
    assert_eq!(RecordHeader::decode(stamp(), &golden[6 * PAGE..]), Some((header, crc, &b"hello"[..])));
}

/// A seal is a record of format 1, so that who does not know it passes over it; its bytes have a file of their own.
#[test]
fn a_seal_is_these_bytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/wal-1-seal.bin");
    let seal = RecordHeader::seal(10, WalPosition(0x3000), WalPosition(0x2010), 0x95b7_db09);
    let mut written = vec![0; RECORD_HEADER];
    let crc = seal.encode(stamp(), std::iter::empty(), &mut written);
    if std::env::var_os("HEADWATER_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &written).unwrap();
    }
    let golden = std::fs::read(path).unwrap();
    assert_eq!(golden, written);
    assert_eq!(hex(&golden[RECORD_CRC]), "ffa96379", "by a CRC-32C that is not ours");
    let (header, read_crc, payload) = RecordHeader::decode(stamp(), &golden).unwrap();
    assert!(header.is_seal() && payload.is_empty());
    assert_eq!((header, read_crc), (seal, crc));
    assert!(!record().0.is_seal());
}

/// Where a record's CRC stands: behind magic, nonce and incarnation.
const RECORD_CRC: std::ops::Range<usize> = 24..28;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn record() -> (RecordHeader, Vec<u8>, u32) {
    let header = RecordHeader {
        sequence: 9,
        position: WalPosition(0x2010),
        previous: WalPosition(0x2000),
        previous_crc: 0xaabb_ccdd,
        group_offset: 0x10,
        stream: StreamId(11),
        epoch: StreamEpoch(2),
        base: Offset(100),
        end: Offset(103),
        max_timestamp: TimestampMs(-1),
        payload_bytes: 5,
    };
    let mut out = vec![0; RECORD_HEADER + 5];
    let crc = header.encode(stamp(), [&b"he"[..], b"llo"].into_iter(), &mut out);
    (header, out, crc)
}

#[test]
fn every_flipped_bit_of_a_record_is_seen() {
    let (_, mut bytes, _) = record();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(RecordHeader::decode(stamp(), &bytes).is_none(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn only_the_owners_own_page_means_open() {
    let open = fence_page(stamp(), FenceState::Open);
    assert_eq!(fence_state(&open, stamp()), FenceState::Open);
    assert_eq!(fence_state(&fence_page(stamp(), FenceState::Fenced), stamp()), FenceState::Fenced);
    let mut torn = open;
    torn[4095] = 1;
    assert_eq!(fence_state(&torn, stamp()), FenceState::Unreadable);
    assert_eq!(fence_state(&[0; PAGE], stamp()), FenceState::Unreadable, "a discarded page is not open");
    let other = Stamp { nonce: 1, ..stamp() };
    assert_eq!(fence_state(&fence_page(other, FenceState::Open), stamp()), FenceState::Unreadable);
}

#[test]
fn the_newest_valid_trim_page_counts() {
    let mut header = vec![0; HEADER_PAGES * PAGE];
    for sequence in 1..=4 {
        let page =
            TrimPage { stamp: stamp(), sequence, trimmed: WalPosition(sequence), assigned: sequence, left: sequence };
        let at = TrimPage::offset(sequence) as usize;
        assert!(at == PAGE || at == 2 * PAGE);
        header[at..at + PAGE].copy_from_slice(&page.encode());
        assert_eq!(TrimPage::newest(&header, stamp()), Some(page));
    }
    header[TrimPage::offset(4) as usize + 40] ^= 1;
    assert_eq!(TrimPage::newest(&header, stamp()).map(|page| page.sequence), Some(3), "a torn page leaves the older");
    assert_eq!(TrimPage::newest(&header, Stamp { nonce: 1, ..stamp() }), None);
}
