//! Emits random generators of every message for the tests, which include the file; the crate itself has no use for it.
//!
//! A generated message is valid in the version asked for: fields that the version lacks keep their defaults, nulls occur
//! where they are allowed. `Source` and its helpers are the tests' own.

use std::fmt::Write;

use crate::emit::{condition, keeps_unknown_tags};
use crate::emit_tables::path;
use crate::model::{self, ident, is_nullable};
use schema::{Field, Message, Type};

pub fn generators(messages: &[(&str, &Message)]) -> Result<String, String> {
    let mut out = String::new();
    let mut table = String::new();
    for (module, message) in messages {
        let full = path(module, message);
        let parent = full.rsplit_once("::").map_or("", |(parent, _)| parent);
        for item in &message.structs {
            out += &generator(message, &item.name, parent)?;
        }
        let _ = writeln!(table, "random::<wire::{full}>,");
    }
    Ok(format!("{out}/// In the order of `wire::registry::MESSAGES`.\npub static RANDOM: &[Random] = &[\n{table}];\n"))
}

fn generator(message: &Message, name: &str, parent: &str) -> Result<String, String> {
    let item = model::find(message, name).ok_or("struct")?;
    let versions = model::struct_versions(message, name);
    let mut body = String::new();
    for field in &item.fields {
        let value = value(field);
        let value = if is_nullable(field) {
            match condition(field.nullable, field.versions.intersect(versions)).as_deref() {
                None => format!("s.nullable(true, |s| {value})"),
                Some(c) => format!("s.nullable({c}, |s| {value})"),
            }
        } else {
            value
        };
        let statement = format!("out.{} = {value};", ident(field));
        let _ = match condition(field.versions, versions).as_deref() {
            None => writeln!(body, "{statement}"),
            Some(c) => writeln!(body, "if {c} {{ {statement} }}"),
        };
    }
    if keeps_unknown_tags(message) {
        let lowest = item.fields.iter().filter_map(|f| f.tag).max().map_or(0, |tag| tag + 1);
        let statement = format!("out.unknown_tagged_fields = s.tags({lowest});");
        let _ = match condition(message.flexible, versions).as_deref() {
            None => writeln!(body, "{statement}"),
            Some(c) => writeln!(body, "if {c} {{ {statement} }}"),
        };
    }
    Ok(format!(
        "impl Arbitrary for wire::{parent}::{name} {{\nfn arbitrary(s: &mut Source, version: i16) -> Self {{\n\
         let mut out = Self::default();\n{body}out\n}}\n}}\n"
    ))
}

fn value(field: &Field) -> String {
    match &field.ty {
        Type::Array(element) => format!("s.array(|s| {})", scalar(element)),
        ty => scalar(ty),
    }
}

fn scalar(ty: &Type) -> String {
    match ty {
        Type::Struct(_) => "Arbitrary::arbitrary(s, version)".to_owned(),
        Type::Records => "s.records()".to_owned(),
        other => format!("s.{}()", model::rust_type(other).to_lowercase()),
    }
}
