//! Build script: turns `schemas/**/*.schema` into Rust.
//!
//! ```text
//! schemas/*/*.schema ──crate schema──► Vec<Message> ──model.rs──► layout facts ──emit*.rs──► $OUT_DIR/*.rs
//! ```
//!
//! The language of the schema files is described in the crate `schema`. A mistake in a schema stops the build with the file
//! and line.

#![allow(clippy::print_stdout, reason = "that is how a build script speaks to cargo")]

mod emit;
mod emit_arbitrary;
mod emit_tables;
mod model;

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use schema::{Kind, Message};

fn main() {
    if let Err(reason) = generate() {
        println!("cargo::error={reason}");
        process::exit(1);
    }
}

fn generate() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=schemas");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?);
    let kafka = load("schemas/kafka")?;
    let meta = load("schemas/meta")?;
    let records = load("schemas/records")?;
    let broker = load("schemas/broker")?;

    let (headers, apis): (Vec<_>, Vec<_>) = kafka.into_iter().partition(|m| m.kind == Kind::Header);
    save(&out, "messages.rs", &modules(&apis)?)?;
    save(&out, "api_facts.rs", &emit_tables::api_facts(&apis)?)?;
    save(&out, "header.rs", &headers.iter().map(emit::items).collect::<Result<String, _>>()?)?;
    save(&out, "records.rs", &(modules(&records)? + &emit_tables::record_keys(&records)?))?;

    let mut text = meta.iter().map(emit::items).collect::<Result<String, _>>()?;
    text.push_str(&emit_tables::meta_enum(&meta)?);
    save(&out, "meta.rs", &text)?;

    let mut text = broker.iter().map(emit::items).collect::<Result<String, _>>()?;
    text.push_str(&emit_tables::broker_apis(&broker)?);
    save(&out, "broker.rs", &text)?;

    let all: Vec<(&str, &Message)> = (headers.iter().map(|m| ("header", m)))
        .chain(apis.iter().map(|m| ("messages", m)))
        .chain(records.iter().map(|m| ("records", m)))
        .chain(meta.iter().map(|m| ("meta", m)))
        .chain(broker.iter().map(|m| ("broker", m)))
        .collect();
    save(&out, "registry.rs", &emit_tables::registry(&all))?;
    save(&out, "arbitrary.rs", &emit_arbitrary::generators(&all)?)
}

/// A module for every message, the message itself re-exported.
fn modules(messages: &[Message]) -> Result<String, String> {
    let mut text = String::new();
    for message in messages {
        text.push_str(&emit::module(message)?);
        text.push_str(&format!("pub use {}::{};\n", model::snake(&message.name), message.name));
    }
    Ok(text)
}

/// What the messages of the other files of its folder may hold.
const SHARED: &str = "shared.schema";

/// Every message of one folder, in the order of the file names, but what is shared first.
fn load(folder: &str) -> Result<Vec<Message>, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|e| format!("{folder}: {e}"))?
        .map(|entry| entry.map(|e| e.path()).map_err(|e| format!("{folder}: {e}")))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "schema"));
    files.sort_by_cached_key(|path| (!path.ends_with(SHARED), path.clone()));
    let mut messages = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        messages.extend(schema::parse_with(&text, &messages).map_err(|e| format!("{}:{e}", file.display()))?);
    }
    Ok(messages)
}

fn save(out: &Path, name: &str, text: &str) -> Result<(), String> {
    fs::write(out.join(name), text).map_err(|e| format!("{name}: {e}"))
}
