//! Every target on stable Rust.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use super::{TARGETS, Target};

/// What hurts decoders: bytes changed, huge and negative lengths, cuts, repeats.
#[derive(Clone, Debug)]
enum Edit {
    Byte(Index, u8),
    Number(Index, u32),
    Cut(Index),
    Repeat(Index, u8),
}

fn edit() -> impl Strategy<Value = Edit> {
    let number = prop_oneof![Just(u32::MAX), Just(0x7fff_ffff), Just(0x8000_0000), 0..100_000_u32];
    prop_oneof![
        5 => (any::<Index>(), any::<u8>()).prop_map(|(at, value)| Edit::Byte(at, value)),
        3 => (any::<Index>(), number).prop_map(|(at, value)| Edit::Number(at, value)),
        1 => any::<Index>().prop_map(Edit::Cut),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    if bytes.is_empty() {
        return;
    }
    match edit {
        Edit::Byte(at, value) => {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        Edit::Number(at, value) => {
            let at = at.index(bytes.len());
            for (byte, new) in bytes[at..].iter_mut().zip(value.to_be_bytes()) {
                *byte = new;
            }
        }
        Edit::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Edit::Repeat(at, count) => {
            let at = at.index(bytes.len());
            let again = bytes[at..].iter().copied().take(usize::from(*count)).collect::<Vec<_>>();
            bytes.splice(at..at, again);
        }
    }
}

fn survives(target: &Target, cases: u32) {
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.run)(&seed.clone().into()));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases) });
    let inputs = (any::<Index>(), prop::collection::vec(edit(), 0..6));
    let outcome = runner.run(&inputs, |(which, edits)| {
        let mut bytes = which.get(&seeds).clone();
        edits.iter().for_each(|edit| apply(&mut bytes, edit));
        (target.run)(&bytes.into());
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{}: {error}", target.name));
}

#[test]
fn no_target_panics_on_mutated_bytes() {
    for target in TARGETS {
        survives(target, 10_000);
    }
}

#[test]
fn cargo_fuzz_knows_every_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let files = std::fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
    let names = files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned());
    let names: BTreeSet<String> = names.collect();
    assert_eq!(names, TARGETS.iter().map(|target| target.name.to_owned()).collect());
    for name in &names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        let text = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(text.contains(&format!("fuzz(\"{name}\"")), "{name}.rs runs another target");
    }
}
