use super::*;

const BYTES: usize = 40;

/// Five records, sent, acknowledged and read back as they should be.
fn sound() -> History {
    let records: Vec<_> = (0..5).map(|seq| (seq, load_value("r", 0, seq, BYTES))).collect();
    History {
        run: "r".to_owned(),
        value_bytes: BYTES,
        sent: BTreeMap::from([(0, 5)]),
        acked: (0..5).map(|seq| (0, seq, seq)).collect(),
        failed: Vec::new(),
        read: BTreeMap::from([(0, records)]),
    }
}

fn broken(change: impl FnOnce(&mut Vec<(u64, Vec<u8>)>)) -> Vec<String> {
    let mut history = sound();
    change(history.read.get_mut(&0).unwrap());
    history.violations(true)
}

#[test]
fn a_sound_history_passes() {
    assert_eq!(sound().violations(true), Vec::<String>::new());
}

#[test]
fn records_that_were_sent_but_never_acknowledged_may_be_lost_at_the_end() {
    let mut history = sound();
    history.acked.truncate(3);
    history.read.get_mut(&0).unwrap().truncate(4);
    assert_eq!(history.violations(true), Vec::<String>::new());
}

#[test]
fn a_lost_record_is_seen() {
    assert!(!broken(|records| drop(records.pop())).is_empty());
}

#[test]
fn a_record_with_other_bytes_is_seen() {
    assert!(!broken(|records| records[2].1[BYTES - 1] ^= 1).is_empty());
}

#[test]
fn a_doubled_record_is_seen() {
    let found = broken(|records| records.push((5, load_value("r", 0, 4, BYTES))));
    assert!(found.iter().any(|violation| violation.contains("again")), "{found:?}");
}

#[test]
fn without_idempotence_a_doubled_record_is_allowed() {
    let mut history = sound();
    history.read.get_mut(&0).unwrap().push((5, load_value("r", 0, 4, BYTES)));
    assert_eq!(history.violations(false), Vec::<String>::new());
}

#[test]
fn records_that_changed_places_are_seen() {
    let mut history = sound();
    history.acked.clear();
    let records = history.read.get_mut(&0).unwrap();
    let (left, right) = records.split_at_mut(2);
    std::mem::swap(&mut left[1].1, &mut right[0].1);
    assert!(!history.violations(true).is_empty());
}

#[test]
fn a_record_of_another_partition_or_run_is_seen() {
    assert!(!broken(|records| records.push((5, load_value("r", 1, 0, BYTES)))).is_empty());
    assert!(!broken(|records| records.push((5, load_value("other", 0, 5, BYTES)))).is_empty());
}

#[test]
fn a_record_that_the_client_gave_up_is_a_violation_with_idempotence() {
    let mut history = sound();
    history.failed.push("0\t5\tOUT_OF_ORDER_SEQUENCE_NUMBER".to_owned());
    assert!(!history.violations(true).is_empty());
}

fn group(journal: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("tail.log"), journal.replace(' ', "\t")).unwrap();
    GroupHistory::load(directory.path()).unwrap().violations()
}

#[test]
fn a_group_that_reads_and_commits_in_order_passes() {
    let journal =
        "assigned t 0\nread t 0 0 9\ncommit t 0 10\nread t 0 10 19\nassigned t 0\nread t 0 10 29\ncommit t 0 30\n";
    assert_eq!(group(journal), Vec::<String>::new());
}

#[test]
fn a_commit_that_goes_back_is_seen() {
    assert!(!group("read t 0 0 9\ncommit t 0 10\ncommit t 0 9\n").is_empty());
}

#[test]
fn an_assignment_that_goes_on_before_the_commit_is_seen() {
    assert!(!group("assigned t 0\nread t 0 0 9\ncommit t 0 10\nassigned t 0\nread t 0 5 12\n").is_empty());
}

#[test]
fn a_skipped_record_is_seen() {
    assert!(!group("assigned t 0\nread t 0 0 9\nassigned t 0\nread t 0 11 12\n").is_empty());
}

#[test]
fn a_reader_that_goes_back_without_a_new_assignment_is_seen() {
    assert!(!group("assigned t 0\nread t 0 0 9\nread t 0 5 12\n").is_empty());
}

#[test]
fn a_journal_line_that_is_still_being_written_is_left_out() {
    assert_eq!(group("assigned t 0\nread t 0 0 9\ncommit t 0 1"), Vec::<String>::new());
}
