//! The house's rules that a machine can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::root;

/// Crates by layer: imports go strictly down. Development crates may import anything but one another's internals.
pub(crate) const LAYERS: &[(&str, u8)] = &[
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
    ("node", 6),
    ("console", 6),
    ("headwater", 7),
];
const DEVELOPMENT: &[&str] = &["testkit", "judge", "sim", "s3server", "fuzzing", "bench", "oracle", "schema", "xtask"];
/// Pairs of one layer in which the first may import the second.
const SAME_LAYER: &[(&str, &str)] = &[("partition", "meta")];

pub(crate) fn crates() -> Vec<(String, PathBuf, toml::Table)> {
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

pub(crate) fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
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

/// Whoever switches on what is planted in the code: by a dependency's features or by a feature of its own.
fn who_plants(manifests: &[(String, toml::Table)]) -> BTreeSet<&str> {
    /// Whether a value, however deep, gives a dependency on `base` the feature, or names it as a crate's own features do.
    fn plants(key: &str, value: &toml::Value) -> bool {
        let is_planted = |feature: &toml::Value| feature.as_str() == Some("planted");
        match value {
            toml::Value::Table(table) => {
                let is_base = key == "base" || table.get("package").and_then(toml::Value::as_str) == Some("base");
                let features = table.get("features").and_then(toml::Value::as_array);
                is_base && features.is_some_and(|features| features.iter().any(is_planted))
                    || table.iter().any(|(key, value)| plants(key, value))
            }
            toml::Value::Array(values) => {
                values.iter().any(|value| value.as_str().is_some_and(|s| s.ends_with("/planted")) || plants("", value))
            }
            _ => false,
        }
    }
    manifests
        .iter()
        .filter(|(_, manifest)| manifest.iter().any(|(key, value)| plants(key, value)))
        .map(|(n, _)| &**n)
        .collect()
}

#[test]
fn only_the_simulator_has_bugs_planted() {
    let mut manifests: Vec<_> = crates().into_iter().map(|(name, _, manifest)| (name, manifest)).collect();
    for other in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let Ok(text) = fs::read_to_string(root().join(other)) else { continue };
        manifests.push((other.to_owned(), text.parse().unwrap()));
    }
    assert_eq!(who_plants(&manifests), BTreeSet::from(["sim"]), "these ask for the feature `planted` of `base`");
    let base = &manifests.iter().find(|(name, _)| name == "base").unwrap().1;
    assert!(base["features"].get("default").is_none(), "a default feature of `base` could bring `planted` with it");
}

#[test]
fn bugs_that_are_planted_by_any_way_are_seen() {
    let ways = [
        "[dependencies]\nbase = { workspace = true, features = [\"planted\"] }",
        "[dev-dependencies]\nport = { package = \"base\", path = \"../base\", features = [\"planted\"] }",
        "[target.'cfg(unix)'.dependencies.base]\nworkspace = true\nfeatures = [\"other\", \"planted\"]",
        "[features]\ndefault = [\"base/planted\"]",
    ];
    for way in ways {
        assert_eq!(who_plants(&[("x".to_owned(), way.parse().unwrap())]).len(), 1, "{way}");
    }
    let not =
        "[features]\nplanted = []\n[dependencies]\nbase = { workspace = true }\nseeds = { features = [\"planted\"] }";
    assert!(who_plants(&[("x".to_owned(), not.parse().unwrap())]).is_empty());
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

/// `cargo fmt` goes by `mod` lines, and a macro writes those of the broker's handlers.
#[test]
fn the_handlers_of_requests_are_formatted() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/broker/src/handlers"), &mut files);
    let checked = Command::new("rustfmt").args(["--edition", "2024", "--check"]).args(&files).status().unwrap();
    assert!(checked.success(), "run: rustfmt --edition 2024 crates/broker/src/handlers/*.rs");
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
fn every_suite_has_its_row_on_the_testing_page_and_every_row_its_suite() {
    let table = crate::times::Table::parse(&fs::read_to_string(crate::test::page()).unwrap()).unwrap();
    let rows: BTreeSet<String> = table.names().map(str::to_owned).collect();
    let metadata = metadata();
    let own = metadata["packages"].as_array().unwrap().iter().filter(|package| package["source"].is_null());
    let mut suites: BTreeSet<String> = crate::test::parts().chain([crate::suites::DOCUMENTATION.to_owned()]).collect();
    for package in own {
        let targets = package["targets"].as_array().unwrap().iter().filter(|target| target["test"] == true);
        suites.extend(targets.filter_map(|target| crate::suites::name(package["name"].as_str().unwrap(), target)));
    }
    assert_eq!(rows, suites, "docs/testing.md lists these, the tree holds those");
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

fn deny_toml() -> toml::Table {
    fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

/// Every package that any feature brings in, and who depends on it.
fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dependencies_come_from_the_registry_with_licences_that_deny_toml_allows() {
    let deny = deny_toml();
    let allowed: BTreeSet<&str> =
        deny["licenses"]["allow"].as_array().unwrap().iter().filter_map(toml::Value::as_str).collect();
    let mut wrong = Vec::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
        match package["source"].as_str() {
            Some(source) if !source.starts_with("registry+") => wrong.push(format!("{name} comes from {source}")),
            Some(_) if !is_allowed(licence, &allowed) => wrong.push(format!("{name} is under {licence}")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What goes against the bans of `deny.toml`: a banned crate that is there, unless only its wrappers depend on it; a
/// dependency of ours, other than a path, on any version.
fn banned(deny: &toml::Table, metadata: &serde_json::Value) -> Vec<String> {
    let bans = deny["bans"].as_table().unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let names: BTreeMap<String, String> = packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let mut wrong = Vec::new();
    for ban in bans["deny"].as_array().unwrap() {
        let ban = ban.as_table().unwrap();
        let (name, reason) = (ban["crate"].as_str().unwrap(), ban["reason"].as_str().unwrap());
        let wrappers = ban.get("wrappers").and_then(toml::Value::as_array);
        for id in names.iter().filter(|(_, found)| *found == name).map(|(id, _)| id) {
            let users = metadata["resolve"]["nodes"].as_array().unwrap().iter().filter(|node| {
                node["deps"].as_array().unwrap().iter().any(|dependency| dependency["pkg"].as_str() == Some(id))
            });
            let users: BTreeSet<&str> = users.map(|node| names[node["id"].as_str().unwrap()].as_str()).collect();
            match wrappers {
                None => wrong.push(format!("{name} is there, by {users:?}: {reason}")),
                Some(wrappers) => {
                    let others = users.iter().filter(|user| !wrappers.iter().any(|w| w.as_str() == Some(user)));
                    wrong.extend(others.map(|user| format!("{user} depends on {name}: {reason}")));
                }
            }
        }
    }
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let any = package["dependencies"].as_array().unwrap().iter().filter(|d| d["req"] == "*" && d["path"].is_null());
        wrong.extend(any.map(|dependency| format!("{} takes any {}", package["name"], dependency["name"])));
    }
    wrong
}

#[test]
fn no_dependency_is_one_that_deny_toml_bans() {
    let deny = deny_toml();
    let bans = deny["bans"].as_table().unwrap();
    let known = ["multiple-versions", "wildcards", "allow-wildcard-paths", "deny"];
    let unknown: Vec<_> = bans.keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "nothing here enforces {unknown:?}");
    let as_enforced = (bans["multiple-versions"].as_str(), bans["wildcards"].as_str());
    assert_eq!(as_enforced, (Some("allow"), Some("deny")), "what is enforced here is something else");
    let known = ["crate", "wrappers", "reason"];
    let entries = bans["deny"].as_array().unwrap().iter().map(|ban| ban.as_table().unwrap());
    assert!(
        entries.flat_map(toml::Table::keys).all(|key| known.contains(&key.as_str())),
        "only {known:?} are enforced"
    );
    let wrong = banned(&deny, &metadata());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_banned_crate_is_found_wherever_it_comes_from() {
    let bans = r#"
        [bans]
        deny = [
          { crate = "bad", reason = "never" },
          { crate = "odd", wrappers = ["bench"], reason = "to measure" },
        ]
    "#;
    let package =
        |name: &str| serde_json::json!({ "id": name, "name": name, "source": "registry", "dependencies": [] });
    let found = |edges: &[(&str, &str)], dependency: serde_json::Value| {
        let mut packages: Vec<_> = edges.iter().flat_map(|(user, used)| [package(user), package(used)]).collect();
        packages.push(serde_json::json!({ "id": "own", "name": "own", "source": null, "dependencies": [dependency] }));
        let node = |(user, used): &(&str, &str)| serde_json::json!({ "id": user, "deps": [{ "pkg": used }] });
        let nodes: Vec<_> = edges.iter().map(node).collect();
        let metadata = serde_json::json!({ "packages": packages, "resolve": { "nodes": nodes } });
        banned(&bans.parse().unwrap(), &metadata).len()
    };
    let pinned = || serde_json::json!({ "name": "good", "req": "^1", "path": null });
    assert_eq!(found(&[("own", "good"), ("good", "fine")], pinned()), 0);
    assert_eq!(found(&[("own", "good"), ("good", "bad")], pinned()), 1, "through another");
    assert_eq!(found(&[("bench", "odd")], pinned()), 0, "its wrapper may");
    assert_eq!(found(&[("bench", "odd"), ("own", "odd")], pinned()), 1, "nobody else may");
    assert_eq!(found(&[], serde_json::json!({ "name": "good", "req": "*", "path": null })), 1, "any version");
    assert_eq!(found(&[], serde_json::json!({ "name": "base", "req": "*", "path": "crates/base" })), 0, "a path");
}
