//! The language in which messages of Kafka are described, and its parser.
//!
//! A file holds messages. A message is a head line and, indented by two blanks per level, its fields:
//!
//! ```text
//! # comment
//! request MetadataRequest api=3 versions=0-13 flexible=9+
//!   topics []MetadataRequestTopic nullable=1+
//!     topic_id uuid 10+ ignorable
//!     name string nullable=10+
//!   allow_auto_topic_creation bool 4+ default=true
//! ```
//!
//! | Head | Meaning |
//! |---|---|
//! | `request`/`response Name api=N` | an API's message |
//! | `header Name` | a request or response header |
//! | `key`/`value Name type=N` | a record of an internal topic and its record type |
//! | `data Name` | opaque bytes inside other messages, behind a version |
//! | `record Name id=N` | a record of the metadata log and its type id |
//! | `versions=R` | the versions that exist |
//! | `flexible=R` | versions with compact lengths and tagged fields; `none` if absent |
//!
//! A field is `name type [versions] [attributes]`; without versions it exists in all of them. Types: `bool i8 i16 i32
//! i64 u16 u32 f64 string bytes records uuid`, a struct's name, `[]T`; a leading `?` means nullable in every version. A
//! struct is declared by the lines indented under the first field that names it, or by `struct Name` when several
//! fields share it; one that is declared nowhere in its message is a `data` message of the same folder. Attributes: `nullable=R`, `tag=N` with `tagged=R` (default: every version of the field),
//! `default=V` (`null` for null), `ignorable` (dropped silently by versions that lack it), `flexible=none`.
//! A range `R` is `N`, `N-M`, `N+` or `none`.

use std::fmt;

/// A range of versions, both ends included; empty when `low > high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub low: i16,
    /// The last; [`i16::MAX`] for one without an end.
    pub high: i16,
}

impl Versions {
    /// No version.
    pub const NONE: Self = Self { low: 1, high: 0 };

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// Whether it has a version.
    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    /// Those that both have.
    pub fn intersect(self, other: Self) -> Self {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        if both.is_empty() { Self::NONE } else { both }
    }

    /// Whether it has all that another has.
    pub fn covers(self, other: Self) -> bool {
        self.intersect(other) == other || other.is_empty()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.parse::<i16>().map_err(|_| format!("bad version range '{text}'"));
        if text == "none" {
            Ok(Self::NONE)
        } else if let Some(low) = text.strip_suffix('+') {
            Ok(Self { low: number(low)?, high: i16::MAX })
        } else if let Some((low, high)) = text.split_once('-') {
            Ok(Self { low: number(low)?, high: number(high)? })
        } else {
            Ok(Self { low: number(text)?, high: number(text)? })
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low > high => f.write_str("none"),
            (low, i16::MAX) => write!(f, "{low}+"),
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) => write!(f, "{low}-{high}"),
        }
    }
}

/// What a message is for; the number is its API key, record type or type id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request of an API.
    Request(i16),
    /// Its response.
    Response(i16),
    /// What stands before either.
    Header,
    /// Opaque bytes inside other messages.
    Data,
    /// The key of a record of an internal topic.
    Key(i16),
    /// Its value.
    Value(i16),
    /// A record of the metadata log.
    Record(i16),
}

/// A field's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// One byte, 0 or 1.
    Bool,
    /// One byte.
    I8,
    /// Two bytes.
    I16,
    /// Four bytes.
    I32,
    /// Eight bytes.
    I64,
    /// Two bytes without a sign.
    U16,
    /// Four bytes without a sign.
    U32,
    /// IEEE 754, eight bytes.
    F64,
    /// UTF-8 behind its length.
    Str,
    /// Bytes behind their length.
    Bytes,
    /// A record set behind its length.
    Records,
    /// Sixteen bytes.
    Uuid,
    /// A struct, by its name.
    Struct(String),
    /// Elements behind their number.
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "bool" => Self::Bool,
            "i8" => Self::I8,
            "i16" => Self::I16,
            "i32" => Self::I32,
            "i64" => Self::I64,
            "u16" => Self::U16,
            "u32" => Self::U32,
            "f64" => Self::F64,
            "string" => Self::Str,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            "uuid" => Self::Uuid,
            _ => match text.strip_prefix("[]") {
                Some(element) if !element.starts_with("[]") => Self::Array(Box::new(Self::parse(element)?)),
                None if text.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Struct(text.to_owned()),
                _ => return Err(format!("unknown type '{text}'")),
            },
        })
    }
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// Its number among the tagged fields.
    pub tag: Option<u32>,
    /// The versions in which it is one of them.
    pub tagged: Versions,
    /// What it is where nothing is said, if that is not zero or empty.
    pub default: Option<String>,
    /// Whether versions that lack it drop it without a word.
    pub ignorable: bool,
    /// False if the field keeps its old layout in flexible versions.
    pub flexible: bool,
}

/// A struct.
#[derive(Clone, Debug)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// Its fields, in their order.
    pub fields: Vec<Field>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// Kafka's name.
    pub name: String,
    /// The versions that exist.
    pub versions: Versions,
    /// The versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// The message itself first, then its nested structs.
    pub structs: Vec<Struct>,
}

/// Parses one file.
///
/// # Errors
/// What is wrong, behind the number of the line.
pub fn parse(text: &str) -> Result<Vec<Message>, String> {
    parse_with(text, &[])
}

/// Parses one file whose messages may hold the `data` messages of `others`, and those of its own, as structs. Such a struct
/// is not among those of the message that holds it.
///
/// # Errors
/// What is wrong, behind the number of the line.
pub fn parse_with(text: &str, others: &[Message]) -> Result<Vec<Message>, String> {
    let mut messages: Vec<Message> = Vec::new();
    // Index, in the current message, of the struct whose fields stand at each level of indentation.
    let mut open: Vec<usize> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let fail = |reason: String| format!("{}: {reason}", number + 1);
        let body = line.trim();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent % 2 != 0 {
            return Err(fail("indent by two blanks per level".to_owned()));
        }
        let level = indent / 2;
        if level == 0 {
            messages.push(head(body).map_err(fail)?);
            open = vec![0];
            continue;
        }
        let message = messages.last_mut().ok_or_else(|| fail("a field before any message".to_owned()))?;
        if level > open.len() {
            return Err(fail("these fields have no struct to belong to".to_owned()));
        }
        open.truncate(level);
        let declared = if let Some(name) = body.strip_prefix("struct ") {
            Some(name.trim().to_owned())
        } else {
            let field = field(body, message.versions).map_err(fail)?;
            let declared = match &field.ty {
                Type::Struct(name) => Some(name.clone()),
                Type::Array(element) => match element.as_ref() {
                    Type::Struct(name) => Some(name.clone()),
                    _ => None,
                },
                _ => None,
            };
            message.structs[open[level - 1]].fields.push(field);
            declared
        };
        if let Some(name) = declared {
            let index = message.structs.iter().position(|s| s.name == name).unwrap_or_else(|| {
                message.structs.push(Struct { name, fields: Vec::new() });
                message.structs.len() - 1
            });
            open.push(index);
        }
    }
    let of_data = |m: &&Message| m.kind == Kind::Data;
    let shared: Vec<(String, Versions)> =
        others.iter().chain(&messages).filter(of_data).map(|m| (m.name.clone(), m.versions)).collect();
    for message in &mut messages {
        let versions = message.versions;
        let mut place = 0;
        message.structs.retain(|item| {
            place += 1;
            let is_shared = |(name, there): &(String, Versions)| *name == item.name && there.covers(versions);
            place == 1 || !item.fields.is_empty() || !shared.iter().any(is_shared)
        });
        if let Some(empty) = message.structs.iter().skip(1).find(|s| s.fields.is_empty()) {
            return Err(format!(
                "0: struct {} of {} has no fields, and is no `data` message in all its versions",
                empty.name, message.name
            ));
        }
    }
    Ok(messages)
}

fn head(line: &str) -> Result<Message, String> {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let name = words.next().ok_or("a message needs a name")?.to_owned();
    let (mut number, mut versions, mut flexible) = (None, None, Versions::NONE);
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("'{word}' is not key=value"))?;
        match key {
            "api" | "type" | "id" => number = Some(value.parse::<i16>().map_err(|_| format!("bad number '{value}'"))?),
            "versions" => versions = Some(Versions::parse(value)?),
            "flexible" => flexible = Versions::parse(value)?,
            _ => return Err(format!("unknown attribute '{key}'")),
        }
    }
    let needed = || number.ok_or_else(|| format!("'{kind}' needs a number"));
    let kind = match kind {
        "request" => Kind::Request(needed()?),
        "response" => Kind::Response(needed()?),
        "header" => Kind::Header,
        "data" => Kind::Data,
        "key" => Kind::Key(needed()?),
        "value" => Kind::Value(needed()?),
        "record" => Kind::Record(needed()?),
        _ => return Err(format!("unknown kind of message '{kind}'")),
    };
    let versions = versions.ok_or("a message needs versions=")?;
    let structs = vec![Struct { name: name.clone(), fields: Vec::new() }];
    Ok(Message { kind, name, versions, flexible: flexible.intersect(versions), structs })
}

fn field(line: &str, message: Versions) -> Result<Field, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    let ty = words.next().ok_or("a field needs a type")?;
    let (nullable_always, ty) = match ty.strip_prefix('?') {
        Some(rest) => (true, rest),
        None => (false, ty),
    };
    let mut field = Field {
        name,
        ty: Type::parse(ty)?,
        versions: message,
        nullable: Versions::NONE,
        tag: None,
        tagged: Versions::NONE,
        default: None,
        ignorable: false,
        flexible: true,
    };
    let mut tagged = None;
    for word in words {
        match word.split_once('=') {
            None if word == "ignorable" => field.ignorable = true,
            None => field.versions = Versions::parse(word)?.intersect(message),
            Some(("nullable", range)) => field.nullable = Versions::parse(range)?,
            Some(("tag", number)) => field.tag = Some(number.parse().map_err(|_| format!("bad tag '{number}'"))?),
            Some(("tagged", range)) => tagged = Some(Versions::parse(range)?),
            Some(("default", value)) => field.default = Some(value.to_owned()),
            Some(("flexible", "none")) => field.flexible = false,
            Some((key, _)) => return Err(format!("unknown attribute '{key}'")),
        }
    }
    if field.versions.is_empty() {
        return Err(format!("field '{}' exists in no version of its message", field.name));
    }
    field.nullable = if nullable_always { field.versions } else { field.nullable.intersect(field.versions) };
    if field.tag.is_some() {
        field.tagged = tagged.unwrap_or(field.versions).intersect(field.versions);
    }
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_that_is_declared_nowhere_is_a_data_message_in_all_versions() {
        let shared = parse("data Inner versions=0-1\n  a i8\ndata Outer versions=0-1\n  inner []Inner\n").unwrap();
        let holder = |versions| parse_with(&format!("request R api=1 versions={versions}\n  outer ?Outer\n"), &shared);
        let names = |message: &Message| message.structs.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        assert_eq!(shared.iter().map(names).collect::<Vec<_>>(), [["Inner"], ["Outer"]]);
        assert_eq!(names(&holder("1").unwrap()[0]), ["R"]);
        assert!(holder("0-2").unwrap_err().contains("struct Outer of R has no fields"));
        assert!(parse("request R api=1 versions=0\n  outer Outer\n").is_err());
    }
}
