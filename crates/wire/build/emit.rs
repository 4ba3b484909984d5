//! Emits the structs of a message and their codecs.
//!
//! The code for one field is a line or two that calls a helper of `Reader` or `Writer`, so that the crate compiles fast
//! and the rules of the layouts exist once, in plain source.

use std::fmt::Write;

use crate::model::{self, ident, is_nullable};
use schema::{Field, Kind, Message, Struct, Type, Versions};

type Out = Result<String, String>;

/// A message in a module of its own.
pub fn module(message: &Message) -> Out {
    let name = model::snake(&message.name);
    Ok(format!("pub mod {name} {{\nuse crate::messages::prelude::*;\n{}}}\n", items(message)?))
}

/// The structs of a message and their codecs.
pub fn items(message: &Message) -> Out {
    let mut out = String::new();
    for item in &message.structs {
        let versions = model::struct_versions(message, &item.name);
        out += &definition(message, item)?;
        out += &default_impl(message, item)?;
        out += &codec(message, item, versions)?;
    }
    out += &message_impl(message);
    Ok(out)
}

fn has_tags(message: &Message) -> bool {
    !message.flexible.is_empty()
}

/// Whether the structs keep tagged fields that this release does not know. Those of stored records are carried, or a
/// rewrite would lose what a newer release wrote; those of requests are passed over: nobody looks at them, and each would
/// take twenty times its bytes.
pub fn keeps_unknown_tags(message: &Message) -> bool {
    let request = matches!(message.kind, Kind::Request(_)) || message.name == "RequestHeader";
    has_tags(message) && !request
}

fn definition(message: &Message, item: &Struct) -> Out {
    let mut out = format!("#[derive(Clone, Debug, PartialEq)]\npub struct {} {{\n", item.name);
    for field in &item.fields {
        let _ = write!(out, "/// Versions {}", field.versions);
        if is_nullable(field) && field.nullable != field.versions {
            let _ = write!(out, ", null in {}", field.nullable);
        }
        let _ = writeln!(out, ".\npub {}: {},", ident(field), model::field_type(field));
    }
    if keeps_unknown_tags(message) {
        out += "/// Tagged fields that this release does not know.\npub unknown_tagged_fields: Vec<RawTaggedField>,\n";
    }
    out += "}\n";
    Ok(out)
}

fn default_impl(message: &Message, item: &Struct) -> Out {
    let mut out = format!("impl Default for {} {{\nfn default() -> Self {{\nSelf {{\n", item.name);
    for field in &item.fields {
        let value = model::default_value(field)?.unwrap_or_else(|| "Default::default()".to_owned());
        let _ = writeln!(out, "{}: {value},", ident(field));
    }
    if keeps_unknown_tags(message) {
        out += "unknown_tagged_fields: Vec::new(),\n";
    }
    out += "}\n}\n}\n";
    Ok(out)
}

fn message_impl(message: &Message) -> String {
    format!(
        "impl Message for {name} {{\nconst NAME: &'static str = {name:?};\n\
         const VERSIONS: RangeInclusive<i16> = {low}..={high};\n\
         fn is_flexible(version: i16) -> bool {{ {flexible} }}\n}}\n",
        name = message.name,
        low = message.versions.low,
        high = message.versions.high,
        flexible = condition(message.flexible, message.versions).unwrap_or_else(|| "true".to_owned()),
    )
}

/// The test that `version`, known to be one of `within`, is one of `versions`; `None` if it always is.
pub fn condition(versions: Versions, within: Versions) -> Option<String> {
    let both = versions.intersect(within);
    if both.is_empty() {
        Some("false".to_owned())
    } else if both.covers(within) {
        None
    } else if both.high >= within.high {
        Some(format!("version >= {}", both.low))
    } else if both.low <= within.low {
        Some(format!("version <= {}", both.high))
    } else {
        Some(format!("({}..={}).contains(&version)", both.low, both.high))
    }
}

fn codec(message: &Message, item: &Struct, versions: Versions) -> Out {
    let flexible = condition(message.flexible, versions).unwrap_or_else(|| "true".to_owned());
    Ok(format!(
        "impl Codec for {name} {{\nconst BYTES_MIN: usize = {min};\n\
         fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n\
         let flexible = {flexible};\nlet mut out = Self::default();\n{read}Ok(out)\n}}\n\
         fn write(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n\
         let flexible = {flexible};\n{write}Ok(())\n}}\n}}\n",
        name = item.name,
        min = model::struct_bytes_min(message, item, versions),
        read = read_body(message, item, versions),
        write = write_body(message, item, versions)?,
    ))
}

/// Wraps a statement in the condition under which it applies.
#[allow(clippy::needless_pass_by_value, reason = "always fed with a fresh condition")]
fn guarded(condition: Option<String>, statement: &str) -> String {
    match condition.as_deref() {
        None => format!("{statement}\n"),
        Some("false") => String::new(),
        Some(condition) => format!("if {condition} {{ {statement} }}\n"),
    }
}

/// The versions of a struct in which a field stands in the ordinary place, not among the tagged ones.
fn plain_versions(field: &Field, versions: Versions) -> Versions {
    let here = field.versions.intersect(versions);
    if field.tagged.is_empty() {
        here
    } else if field.tagged.low > here.low {
        Versions { low: here.low, high: field.tagged.low - 1 }
    } else {
        Versions::NONE
    }
}

fn read_body(message: &Message, item: &Struct, versions: Versions) -> String {
    let mut out = String::new();
    for field in &item.fields {
        let here = plain_versions(field, versions);
        let value = read_field(message, item, field, here);
        out += &guarded(condition(here, versions), &format!("out.{} = {value};", ident(field)));
    }
    if !has_tags(message) {
        return out;
    }
    let tagged: Vec<&Field> = item.fields.iter().filter(|f| !f.tagged.intersect(versions).is_empty()).collect();
    let flexible = condition(message.flexible, versions);
    let keeps = keeps_unknown_tags(message);
    if tagged.is_empty() {
        let all = if keeps { "out.unknown_tagged_fields = reader.unknown_tags()?;" } else { "reader.skip_tags()?;" };
        return out + &guarded(flexible, all);
    }
    let mut arms = String::new();
    for field in tagged {
        let tag = field.tag.unwrap_or_default();
        let guard = condition(field.tagged, versions.intersect(message.flexible));
        let guard = guard.map_or_else(String::new, |c| format!(" if {c}"));
        let value = read_field(message, item, field, field.tagged);
        let value = value.strip_suffix('?').map_or_else(|| format!("Ok({value})"), str::to_owned);
        let path = path(item, field);
        let _ =
            writeln!(arms, "{tag}{guard} => out.{} = reader.tagged(size, {path}, |reader| {value})?,", ident(field));
    }
    let unknown = match keeps {
        true => "reader.unknown_tag(tag, size, &mut out.unknown_tagged_fields)?",
        false => "reader.skip(size)?",
    };
    let section = format!(
        "for _ in 0..reader.tag_count()? {{\nlet (tag, size) = reader.tag()?;\nmatch tag {{\n{arms}\
         _ => {unknown},\n}}\n}}"
    );
    out + &guarded(flexible, &section)
}

fn path(item: &Struct, field: &Field) -> String {
    format!("\"{}.{}\"", item.name, field.name)
}

fn flexible_of(field: &Field) -> &'static str {
    if field.flexible { "flexible" } else { "false" }
}

/// The expression that reads a field in one of the versions `here`.
fn read_field(message: &Message, item: &Struct, field: &Field, here: Versions) -> String {
    let path = path(item, field);
    let plain = read_value(message, field, &path, false);
    if !is_nullable(field) {
        return plain;
    }
    let nullable = read_value(message, field, &path, true);
    match condition(field.nullable, here).as_deref() {
        None => nullable,
        Some("false") => format!("Some({plain})"),
        Some(condition) => format!("if {condition} {{ {nullable} }} else {{ Some({plain}) }}"),
    }
}

fn read_value(message: &Message, field: &Field, path: &str, nullable: bool) -> String {
    let flexible = flexible_of(field);
    let prefix = if nullable { "nullable_" } else { "" };
    match &field.ty {
        Type::Str => format!("reader.{prefix}string({flexible}, {path})?"),
        Type::Bytes | Type::Records => format!("reader.{prefix}bytes({flexible}, {path})?"),
        Type::Struct(_) if nullable && !field.tagged.is_empty() => "read_nullable_tagged(reader, version)?".to_owned(),
        Type::Struct(_) if nullable => "read_nullable(reader, version)?".to_owned(),
        Type::Struct(name) => format!("{name}::read(reader, version)?"),
        Type::Array(element) => {
            let min = model::element_bytes_min(message, element, false);
            let read = match element.as_ref() {
                Type::Str => format!("|r| r.string({flexible}, {path})"),
                Type::Bytes | Type::Records => format!("|r| r.bytes({flexible}, {path})"),
                Type::Struct(name) => format!("|r| {name}::read(r, version)"),
                other => format!("Reader::{}", method(other)),
            };
            format!("reader.{prefix}array({flexible}, {min}, {path}, {read})?")
        }
        other => format!("reader.{}()?", method(other)),
    }
}

/// The method of `Reader` and `Writer` for a type of fixed size.
fn method(ty: &Type) -> String {
    model::rust_type(ty).to_lowercase()
}

fn write_body(message: &Message, item: &Struct, versions: Versions) -> Out {
    let mut out = String::new();
    for field in &item.fields {
        let here = plain_versions(field, versions);
        let present = condition(field.versions, versions);
        out += &guarded(condition(here, versions), &write_field(item, field, here, "writer"));
        if let (Some(present), false) = (present, field.ignorable) {
            let default = model::default_test(field, &format!("self.{}", ident(field)))?;
            let _ = writeln!(out, "if !({present}) {{ absent({default}, {}, version)?; }}", path(item, field));
        }
    }
    if !has_tags(message) {
        return Ok(out);
    }
    let mut tagged: Vec<&Field> = item.fields.iter().filter(|f| !f.tagged.intersect(versions).is_empty()).collect();
    tagged.sort_by_key(|f| f.tag);
    let keeps = keeps_unknown_tags(message);
    let unknown = if keeps { "&self.unknown_tagged_fields" } else { "&[]" };
    let section = if tagged.is_empty() {
        format!("writer.unknown_tags({unknown})?;")
    } else {
        let mut section = format!("let mut tags = TagSection::new({unknown});\n");
        for field in tagged {
            let default = model::default_test(field, &format!("self.{}", ident(field)))?;
            let write = write_field(item, field, field.tagged, "w");
            let write = format!(
                "if !({default}) {{ tags.field({}, |w| {{ {write} Ok(()) }})?; }}",
                field.tag.unwrap_or_default()
            );
            section += &guarded(condition(field.tagged, versions.intersect(message.flexible)), &write);
        }
        section + "tags.finish(writer)?;"
    };
    match condition(message.flexible, versions).as_deref() {
        None => out += &format!("{section}\n"),
        flexible if !keeps => out += &guarded(flexible.map(str::to_owned), &section),
        Some("false") => out += "Writer::no_unknown_tags(&self.unknown_tagged_fields)?;\n",
        Some(condition) => {
            let _ = writeln!(
                out,
                "if {condition} {{ {section} }} else {{ Writer::no_unknown_tags(&self.unknown_tagged_fields)?; }}"
            );
        }
    }
    Ok(out)
}

/// The statement that writes a field in one of the versions `here`.
fn write_field(item: &Struct, field: &Field, here: Versions, writer: &str) -> String {
    let name = ident(field);
    if !is_nullable(field) {
        let by = if model::is_copy(&field.ty) { "" } else { "&" };
        return write_value(field, &format!("{by}self.{name}"), writer, false);
    }
    let optional = match &field.ty {
        Type::Str | Type::Array(_) => format!("self.{name}.as_deref()"),
        _ => format!("self.{name}.as_ref()"),
    };
    let nullable = write_value(field, &optional, writer, true);
    let plain = write_value(field, &format!("present(&self.{name}, {}, version)?", path(item, field)), writer, false);
    match condition(field.nullable, here).as_deref() {
        None => nullable,
        Some("false") => plain,
        Some(condition) => format!("if {condition} {{ {nullable} }} else {{ {plain} }}"),
    }
}

fn write_value(field: &Field, value: &str, writer: &str, nullable: bool) -> String {
    let flexible = flexible_of(field);
    let prefix = if nullable { "nullable_" } else { "" };
    match &field.ty {
        Type::Str => format!("{writer}.{prefix}string({flexible}, {value})?;"),
        Type::Bytes | Type::Records => format!("{writer}.{prefix}bytes({flexible}, {value})?;"),
        Type::Struct(_) if nullable && !field.tagged.is_empty() => {
            format!("write_nullable_tagged({value}, {writer}, version)?;")
        }
        Type::Struct(_) if nullable => format!("write_nullable({value}, {writer}, version)?;"),
        Type::Struct(name) => format!("{name}::write({value}, {writer}, version)?;"),
        Type::Array(element) => {
            let write = match element.as_ref() {
                Type::Str => format!("|w, v| w.string({flexible}, v)"),
                Type::Bytes | Type::Records => format!("|w, v| w.bytes({flexible}, v)"),
                Type::Struct(_) => "|w, v| v.write(w, version)".to_owned(),
                other => format!("|w, v| {{ w.{}(*v); Ok(()) }}", method(other)),
            };
            format!("{writer}.{prefix}array({flexible}, {value}, {write})?;")
        }
        other => format!("{writer}.{}({value});", method(other)),
    }
}
