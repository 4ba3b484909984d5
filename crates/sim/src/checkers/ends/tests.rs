use std::sync::Arc;

use meta::LogLost;
use node::{DrainError, StartError};
use stream::engine::EngineFailure;
use stream::wal::WalError;

use super::*;
use crate::disk::Observer as _;
use crate::trace::Trace;

/// What is found when a process ends so, after what `befell` it.
fn found(befell: impl FnOnce(&Ends, &Process), end: &End) -> usize {
    let findings = Findings::new(&Trace::new(None));
    let (ends, process) = (Ends::new(&findings), Process::new("one-1", 1));
    ends.started(&process);
    befell(&ends, &process);
    ends.ended(&process, end);
    findings.all().len()
}

fn failed() -> End {
    End::LogFailed(EngineFailure(Arc::from("commit 3 of 1-7 was another one")))
}

fn io() -> WalError {
    WalError::Io { what: "read".to_owned(), source: std::io::Error::other("a planned fault") }
}

#[test]
fn an_end_that_nothing_explains_is_found() {
    let nothing = |_: &Ends, _: &Process| {};
    let ends = [
        End::Drained,
        End::Stopped { serving: true },
        End::Fenced { why: "entry 5 is another's".into() },
        End::MetadataLost(LogLost::Unreadable(base::MetaSequence(5))),
        failed(),
        End::NotDrained(DrainError::Engine(EngineFailure(Arc::from("it is below the floor")))),
        End::NotStarted(StartError::Log(io())),
    ];
    let silent: Vec<_> = ends.iter().filter(|end| found(nothing, end) != 1).collect();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn an_end_that_follows_from_what_befell_the_process_is_none() {
    let told = |ends: &Ends, process: &Process| ends.told(process, Order::Drain);
    assert_eq!(found(told, &End::Drained), 0);
    let disk = |ends: &Ends, process: &Process| ends.write_failed(process, Path::new("/one/wal/segment-1"));
    assert_eq!(found(disk, &failed()), 0);
    let disk = |ends: &Ends, process: &Process| ends.read_failed(process, Path::new("/one/wal/segment-1"), 0);
    assert_eq!(found(disk, &End::NotStarted(StartError::Log(io()))), 0);
}

#[test]
fn a_store_in_trouble_explains_no_engine_that_fails() {
    let trouble = |ends: &Ends, process: &Process| ends.befell(process, Cause::Store);
    assert_eq!(found(trouble, &failed()), 1);
    assert_eq!(found(|ends, process| ends.told(process, Order::Drain), &failed()), 1, "nor does an order");
}

#[test]
fn what_befell_another_process_explains_nothing() {
    let other = |ends: &Ends, _: &Process| ends.write_failed(&Process::new("two-1", 2), Path::new("/two/wal"));
    assert_eq!(found(other, &failed()), 1);
}
