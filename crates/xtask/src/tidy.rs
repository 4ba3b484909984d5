//! The house's rules that a machine can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::root;

/// Crates by layer: imports go strictly down. Development crates may import anything but one another's internals.
const LAYERS: &[(&str, u8)] = &[
    ("base", 0),
    ("wire", 1),
    ("records", 1),
    ("blob", 1),
    ("telemetry", 1),
    ("stream", 2),
    ("meta", 3),
    ("partition", 3),
    ("coordinator", 4),
    ("broker", 5),
    ("console", 6),
    ("headwater", 7),
];
const DEVELOPMENT: &[&str] = &["testkit", "s3server", "fuzzing", "bench", "xtask"];
/// Pairs of one layer in which the first may import the second.
const SAME_LAYER: &[(&str, &str)] = &[("partition", "meta")];

fn crates() -> Vec<(String, PathBuf, toml::Table)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(path.join("Cargo.toml")) else { continue };
        let manifest: toml::Table = text.parse().unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        found.push((name, path, manifest));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn imports_go_strictly_down_the_layers() {
    let layer: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, _, manifest) in crates() {
        let Some(own) = layer.get(name.as_str()) else {
            assert!(DEVELOPMENT.contains(&name.as_str()), "crate `{name}` has no layer: add it to LAYERS");
            continue;
        };
        let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else { continue };
        for dependency in dependencies.keys() {
            let allowed = SAME_LAYER.contains(&(name.as_str(), dependency.as_str()));
            match layer.get(dependency.as_str()) {
                Some(other) if other >= own && !allowed => wrong.push(format!("{name} imports {dependency}")),
                None if DEVELOPMENT.contains(&dependency.as_str()) => wrong.push(format!("{name} ships {dependency}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "against the layers: {wrong:?}");
}

#[test]
fn folder_and_package_have_one_name_and_share_the_lints() {
    for (folder, _, manifest) in crates() {
        let package = manifest["package"].as_table().unwrap();
        assert_eq!(package["name"].as_str(), Some(folder.as_str()));
        let lints = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(lints, Some(true), "`{folder}` must inherit the workspace's lints");
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut silent = Vec::new();
    for (_, path, _) in crates() {
        let mut files = Vec::new();
        rust_files(&path.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let is_tests =
                file.file_stem().is_some_and(|s| s == "tests") || file.components().any(|c| c.as_os_str() == "tests");
            if !is_tests && !text.starts_with("//!") {
                silent.push(file.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    assert!(silent.is_empty(), "modules without a header: {silent:#?}");
}

#[test]
fn no_source_file_grows_beyond_reading() {
    const LINES_MAX: usize = 700;
    let mut long = Vec::new();
    for (_, path, _) in crates() {
        let mut files = Vec::new();
        rust_files(&path.join("src"), &mut files);
        for file in files {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            if lines > LINES_MAX {
                long.push(format!("{} has {lines} lines", file.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(long.is_empty(), "split these: {long:#?}");
}

#[test]
fn the_crate_map_of_the_architecture_page_is_the_tree() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mapped: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `crates/"))
        .filter_map(|rest| rest.split('`').next())
        .map(str::to_owned)
        .collect();
    let tree: BTreeSet<String> = crates().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(mapped, tree, "ARCHITECTURE.md lists these crates, the tree holds those");
}

#[test]
fn every_dependency_has_its_reason() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let own: BTreeSet<String> = crates().into_iter().map(|(name, ..)| name).collect();
    let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
    let silent: Vec<_> =
        dependencies.keys().filter(|d| !own.contains(*d) && !page.contains(&format!("`{d}`"))).collect();
    assert!(silent.is_empty(), "dependencies without a reason in ARCHITECTURE.md: {silent:?}");
}

/// Whether an SPDX expression without nested choices can be met with the licences allowed; "or later" includes the one named.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let plain = expression.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(one.trim().trim_end_matches('+'))))
}

#[test]
fn dependencies_come_from_the_registry_with_licences_that_deny_toml_allows() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: BTreeSet<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
        match package["source"].as_str() {
            Some(source) if !source.starts_with("registry+") => wrong.push(format!("{name} comes from {source}")),
            Some(_) if !is_allowed(licence, &allowed) => wrong.push(format!("{name} is under {licence}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
