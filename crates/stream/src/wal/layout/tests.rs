//! Golden bytes of every page and of a record, and what a flipped bit does to them.

use super::*;

fn stamp() -> Stamp {
    Stamp { incarnation: Incarnation { broker: BrokerId(7), epoch: BrokerEpoch(300) }, nonce: 0x0102_0304_0506_0708 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of a page up to its zero filling.
fn golden(page: &Page, expected: &str) {
    let used = expected.len() / 2;
    assert_eq!(hex(&page[..used]), expected);
    assert!(page[used..].iter().all(|&b| b == 0), "the rest of a page is zero");
}

/// The nonce of [`stamp`].
const STAMP: &str = "0102030405060708";

#[test]
fn pages_keep_their_bytes() {
    let header = HeaderPage { stamp: stamp(), segment_bytes: 64 << 20, cluster_id: "abc".into() };
    golden(
        &header.encode(),
        &format!("48574c48{}{STAMP}00000007000000000000012c000100000000040000000003616263", GOLDEN[0]),
    );
    let trim = TrimPage { stamp: stamp(), sequence: 3, trimmed: WalPosition(0x1234), assigned: 2 };
    golden(
        &trim.encode(),
        &format!(
            "48574c54{}{STAMP}00000007000000000000012c000000000000000300000000000012340000000000000002",
            GOLDEN[1]
        ),
    );
    golden(
        &fence_page(stamp(), FenceState::Open),
        &format!("48574c46{}{STAMP}00000007000000000000012c00000000", GOLDEN[2]),
    );
    golden(
        &fence_page(stamp(), FenceState::Fenced),
        &format!("48574c46{}{STAMP}00000007000000000000012c00000001", GOLDEN[3]),
    );
    let segment = SegmentPage::InUse { stamp: stamp(), logical: 5 };
    golden(&segment.encode(), &format!("48574c53{}{STAMP}00000007000000000000012c000000010000000000000005", GOLDEN[4]));
    let device = DevicePage { segment_bytes: 1 << 20, segments: 9 };
    golden(
        &device.encode(),
        &format!("48574c44{}0000000000000000000000000000000000000000000100000000001000000000000000000009", GOLDEN[5]),
    );

    assert_eq!(HeaderPage::decode(&header.encode()), Ok(header));
    assert_eq!(TrimPage::decode(&trim.encode()), Ok(trim));
    assert_eq!(SegmentPage::decode(&segment.encode()), Ok(segment));
    assert_eq!(SegmentPage::decode(&SegmentPage::Free.encode()), Ok(SegmentPage::Free));
    assert_eq!(SegmentPage::decode(&[0; PAGE]), Ok(SegmentPage::Free));
    assert_eq!(DevicePage::decode(&device.encode()), Ok(device));
}

/// CRCs of the pages above, computed by a CRC-32C that is not ours.
const GOLDEN: [&str; 6] = ["4ad2d377", "d6fa566a", "e4e651cb", "d17557a9", "10276eae", "6449e6a7"];

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
fn a_record_keeps_its_bytes() {
    let (header, bytes, crc) = record();
    assert_eq!(
        hex(&bytes),
        format!(
            "48574c52{STAMP}00000007000000000000012c{crc:08x}0000000000000009000000000000201000000000000020\
             00aabbccdd00000010000000000000000b0000000200000000000000640000000000000067ffffffffffffffff00000005\
             68656c6c6f"
        )
    );
    assert_eq!(format!("{crc:08x}"), GOLDEN_RECORD);
    assert_eq!(RecordHeader::decode(stamp(), &bytes), Some((header, crc, &b"hello"[..])));
}

const GOLDEN_RECORD: &str = "95b7db09";

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
        let page = TrimPage { stamp: stamp(), sequence, trimmed: WalPosition(sequence), assigned: sequence };
        let at = TrimPage::offset(sequence) as usize;
        assert!(at == PAGE || at == 2 * PAGE);
        header[at..at + PAGE].copy_from_slice(&page.encode());
        assert_eq!(TrimPage::newest(&header, stamp()), Some(page));
    }
    header[TrimPage::offset(4) as usize + 40] ^= 1;
    assert_eq!(TrimPage::newest(&header, stamp()).map(|page| page.sequence), Some(3), "a torn page leaves the older");
    assert_eq!(TrimPage::newest(&header, Stamp { nonce: 1, ..stamp() }), None);
}
