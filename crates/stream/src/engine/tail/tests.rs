use base::memory::Budget;
use bytes::Bytes;

use super::super::runs::RUN_ENTRIES;
use super::*;

/// Entries of two offsets each from `start`, with these timestamps.
fn tail(start: u64, timestamps: impl IntoIterator<Item = i64>) -> Tail {
    let budget = Budget::new(1 << 30);
    let mut tail = Tail::new(Offset(start));
    for (at, timestamp) in (0..).zip(timestamps) {
        let base = start + 2 * at;
        tail.push(Entry {
            range: OffsetRange::new(Offset(base), Offset(base + 2)),
            max_timestamp: TimestampMs(timestamp),
            payload: Fragments::from_iter([Bytes::from_static(b"x")]),
            bytes: at as usize % 7 + 1,
            _room: Room::new(budget.force_charge(1)),
        });
    }
    tail
}

/// Numbers that look random, and repeat themselves.
fn scattered(count: u64) -> impl Iterator<Item = i64> {
    (0..count).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as i64)
}

#[test]
fn look_ups_find_what_looking_at_every_entry_finds() {
    let count = 5 * RUN_ENTRIES as u64 + 17;
    let mut tail = tail(100, scattered(count));
    for gone in [0, 1, 700, RUN_ENTRIES, 2 * RUN_ENTRIES + 3] {
        while tail.detach_below(Offset(100 + 2 * gone as u64)).is_some() {}
        let all: Vec<_> = tail.look_from(Offset(0)).map(|e| (e.range, e.max_timestamp, e.bytes as u64)).collect();
        assert_eq!(all.len(), count as usize - gone);
        let end = all.last().unwrap().0.end;
        for from in (0..=end.0 + 2).step_by(501).map(Offset) {
            let bytes: u64 = all.iter().filter(|(range, ..)| range.start >= from).map(|(.., bytes)| bytes).sum();
            assert_eq!(tail.bytes_from(from), bytes);
            for limit in [end, Offset(end.0 - 1), Offset(from.0 + 1_200), from] {
                let mut best: Option<(TimestampMs, OffsetRange)> = None;
                for (range, timestamp, _) in all.iter().filter(|(r, ..)| r.end > from && r.end <= limit) {
                    if best.is_none_or(|(greatest, _)| *timestamp > greatest) {
                        best = Some((*timestamp, *range));
                    }
                }
                assert_eq!(tail.max_timestamp(from, limit), best, "{from} to {limit}, {gone} gone");
                for at_least in [0, 2_000, 4_000, 4_094, 4_095, 5_000].map(TimestampMs) {
                    let found = all.iter().find(|(range, timestamp, _)| range.end > from && *timestamp >= at_least);
                    let found = found.map(|(range, ..)| *range).filter(|range| range.end <= limit);
                    assert_eq!(tail.find_timestamp(from, at_least, limit), found);
                }
            }
        }
    }
}

#[test]
fn a_look_up_in_a_long_tail_looks_at_few_entries() {
    let count = 100 * RUN_ENTRIES as u64;
    let tail = tail(0, 0..count as i64);
    let end = Offset(2 * count);
    let cost = |look_up: &dyn Fn(&Tail)| {
        tail.looked.set(0);
        look_up(&tail);
        tail.looked.get()
    };
    let look_ups: [&dyn Fn(&Tail); 5] = [
        &|tail| assert!(tail.max_timestamp(Offset(0), end).is_some()),
        &|tail| assert!(tail.max_timestamp(Offset(777), Offset(end.0 - 777)).is_some()),
        &|tail| assert!(tail.find_timestamp(Offset(0), TimestampMs(count as i64 - 1), end).is_some()),
        &|tail| assert!(tail.find_timestamp(Offset(0), TimestampMs(count as i64), end).is_none()),
        &|tail| assert!(tail.bytes_from(Offset(777)) > 0),
    ];
    for (at, look_up) in look_ups.into_iter().enumerate() {
        let looked = cost(look_up);
        assert!(looked <= 3 * RUN_ENTRIES, "look-up {at} looked at {looked} of {count} entries");
    }
}

#[test]
fn a_read_takes_no_more_entries_under_one_lock_than_it_may() {
    let tail = tail(0, scattered(100));
    let wanted = Wanted { max_bytes: usize::MAX, min_one: true };
    let mut out = Fetched::empty(Offset(0));
    let mut pieces = 0;
    while tail.collect(out.range.end, Offset(180), wanted, 30, &mut out).unwrap() {
        pieces += 1;
    }
    assert_eq!((pieces, out.range, out.slices.len()), (3, OffsetRange::new(Offset(0), Offset(180)), 90));
    let few = Wanted { max_bytes: 3, min_one: false };
    let mut out = Fetched::empty(Offset(0));
    assert_eq!(tail.collect(Offset(0), Offset(180), few, 30, &mut out), Some(false));
    assert_eq!((out.range.end, out.bytes), (Offset(4), 3));
}

/// A burst that has left takes no memory, though the stream is never without an entry.
#[test]
fn a_tail_takes_no_more_memory_than_what_is_in_it() {
    let count = 20 * RUN_ENTRIES as u64;
    let mut tail = tail(0, scattered(count));
    let mut left = count as usize;
    for kept in [count as usize - 1, 10_000, 5_000, 1_500, 700, 100, 1] {
        let mut gone = 0;
        while let Some(entries) = tail.detach_below(Offset(2 * (count - kept as u64))) {
            assert!(entries.len() <= RUN_ENTRIES, "under one lock");
            gone += entries.len();
        }
        assert_eq!(gone, left - kept);
        left = kept;
        let capacity = tail.capacity();
        assert!(capacity <= kept + kept / 100 + 100, "memory for {capacity} entries of {kept}");
    }
}
