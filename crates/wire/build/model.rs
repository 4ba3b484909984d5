//! What the schema implies for Rust: names, types, defaults and the fewest bytes a value can take.

use schema::{Field, Message, Struct, Type, Versions};

/// `MetadataRequest` → `metadata_request`.
pub fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, c) in letters.iter().enumerate() {
        let after_lower = i > 0 && !letters[i - 1].is_ascii_uppercase();
        let before_lower = i > 0 && letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (after_lower || before_lower) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's name in Rust; a keyword gets a trailing underscore.
pub fn ident(field: &Field) -> String {
    match field.name.as_str() {
        "type" | "match" | "ref" | "where" | "move" | "use" | "in" => format!("{}_", field.name),
        name => name.to_owned(),
    }
}

pub fn is_nullable(field: &Field) -> bool {
    !field.nullable.is_empty()
}

/// The type of a value that is not null.
pub fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::I8 => "i8".to_owned(),
        Type::I16 => "i16".to_owned(),
        Type::I32 => "i32".to_owned(),
        Type::I64 => "i64".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::F64 => "f64".to_owned(),
        Type::Str => "Str".to_owned(),
        Type::Bytes | Type::Records => "Bytes".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", rust_type(element)),
    }
}

pub fn field_type(field: &Field) -> String {
    let ty = rust_type(&field.ty);
    if is_nullable(field) { format!("Option<{ty}>") } else { ty }
}

/// The default as an expression, or `None` where it is that of the Rust type.
pub fn default_value(field: &Field) -> Result<Option<String>, String> {
    let Some(text) = &field.default else {
        // Kafka's default of a nullable field is the empty value, not null, except for records.
        return Ok(match &field.ty {
            Type::Records => None,
            ty if is_nullable(field) => Some(format!("Some(<{}>::default())", rust_type(ty))),
            _ => None,
        });
    };
    if text == "null" {
        return if is_nullable(field) { Ok(None) } else { Err(format!("{}: default null, never null", field.name)) };
    }
    let plain = match &field.ty {
        Type::Bool if text == "true" || text == "false" => text.clone(),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::U16 | Type::U32 if text.parse::<i64>().is_ok() => {
            text.clone()
        }
        Type::F64 if text.parse::<f64>().is_ok() => format!("{text}_f64"),
        Type::Str => format!("Str::from_static({text:?})"),
        _ => return Err(format!("{}: default '{text}' does not suit the type", field.name)),
    };
    Ok(Some(if is_nullable(field) { format!("Some({plain})") } else { plain }))
}

/// An expression for "`self.field` holds its default".
pub fn default_test(field: &Field, value: &str) -> Result<String, String> {
    let default = default_value(field)?;
    Ok(match (&field.ty, is_nullable(field), default) {
        (_, true, None) => format!("{value}.is_none()"),
        (Type::Struct(_), true, Some(_)) => format!("{value}.as_ref().is_some_and(is_default)"),
        (Type::Str | Type::Bytes | Type::Array(_), true, Some(_)) if field.default.is_none() => {
            format!("{value}.as_ref().is_some_and(|v| v.is_empty())")
        }
        (Type::Str | Type::Bytes | Type::Records | Type::Array(_), false, None) => format!("{value}.is_empty()"),
        (Type::Bool, false, None) => format!("!{value}"),
        (Type::F64, false, None) => format!("{value} == 0.0"),
        (Type::Uuid, false, None) => format!("{value}.is_nil()"),
        (Type::Struct(_), false, None) => format!("is_default(&{value})"),
        (_, false, None) => format!("{value} == 0"),
        (Type::Bool, false, Some(text)) => {
            if text == "true" {
                value.to_owned()
            } else {
                format!("!{value}")
            }
        }
        (_, _, Some(text)) => format!("{value} == {text}"),
    })
}

/// Whether values need no reference to be passed on.
pub fn is_copy(ty: &Type) -> bool {
    !matches!(ty, Type::Str | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_))
}

/// The fewest bytes a struct takes in any of the versions, at least 1.
pub fn struct_bytes_min(message: &Message, item: &Struct, versions: Versions) -> usize {
    let all = versions.intersect(message.versions);
    (all.low..=all.high).map(|v| struct_bytes(message, item, v)).min().unwrap_or(1).max(1)
}

fn struct_bytes(message: &Message, item: &Struct, version: i16) -> usize {
    let flexible = message.flexible.contains(version);
    let fields = item.fields.iter().filter(|f| f.versions.contains(version) && !f.tagged.contains(version));
    fields.map(|f| value_bytes(message, f, version, flexible && f.flexible)).sum::<usize>() + usize::from(flexible)
}

fn value_bytes(message: &Message, field: &Field, version: i16, flexible: bool) -> usize {
    match &field.ty {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::Uuid => 16,
        Type::Str => {
            if flexible {
                1
            } else {
                2
            }
        }
        Type::Bytes | Type::Records | Type::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Type::Struct(_) if field.nullable.contains(version) => 1,
        Type::Struct(name) => find(message, name).map_or(0, |item| struct_bytes(message, item, version)),
    }
}

/// The fewest bytes an element of an array takes.
pub fn element_bytes_min(message: &Message, ty: &Type, flexible: bool) -> String {
    match ty {
        Type::I16 | Type::U16 => "2".to_owned(),
        Type::I32 | Type::U32 => "4".to_owned(),
        Type::I64 | Type::F64 => "8".to_owned(),
        Type::Uuid => "16".to_owned(),
        Type::Str if !flexible && message.flexible.is_empty() => "2".to_owned(),
        Type::Struct(name) => format!("{name}::BYTES_MIN"),
        _ => "1".to_owned(),
    }
}

pub fn find<'a>(message: &'a Message, name: &str) -> Option<&'a Struct> {
    message.structs.iter().find(|s| s.name == name)
}

/// The versions in which a struct can occur: those of the message for the struct at the top, those of the fields that
/// hold it (narrowed by where these can occur) for a nested one.
pub fn struct_versions(message: &Message, name: &str) -> Versions {
    if message.structs[0].name == name {
        return message.versions;
    }
    let mut union: Option<Versions> = None;
    for parent in &message.structs {
        for field in &parent.fields {
            let holds = match &field.ty {
                Type::Struct(n) => n == name,
                Type::Array(e) => matches!(e.as_ref(), Type::Struct(n) if n == name),
                _ => false,
            };
            if holds {
                let here = field.versions.intersect(struct_versions(message, &parent.name));
                union = Some(match union {
                    Some(u) => Versions { low: u.low.min(here.low), high: u.high.max(here.high) },
                    None => here,
                });
            }
        }
    }
    union.unwrap_or(message.versions)
}
