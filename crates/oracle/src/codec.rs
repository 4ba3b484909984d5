//! Messages as trees: any message of the schemas, encoded from JSON and decoded to it.
//!
//! Nothing here is the broker's own codec: what that gets wrong is not got wrong twice. An object's members are the schema's
//! fields. A member that the version lacks is not sent, one that is missing is the schema's default. Bytes are a string of
//! hexadecimal digits, records what [`crate::records`] makes of a tree.

use anyhow::{Context, Result, bail, ensure};
use schema::{Field, Message, Struct, Type};
use serde_json::{Map, Value, json};

use crate::records;

/// The field that holds what a flexible version sent and the schema does not know.
const UNKNOWN_TAGS: &str = "_unknown_tags";

/// Encodes a message.
///
/// # Errors
/// When a value does not suit its field; the message names it.
pub fn encode(message: &Message, version: i16, value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let flexible = message.flexible.contains(version);
    let writer = Writer { message, version, flexible };
    writer.fields(&message.structs[0], value, &mut out).with_context(|| format!("{} v{version}", message.name))?;
    Ok(out)
}

/// Decodes a message, all of `bytes`.
///
/// # Errors
/// When the bytes are not one message of this version.
pub fn decode(message: &Message, version: i16, bytes: &[u8]) -> Result<Value> {
    let flexible = message.flexible.contains(version);
    let mut reader = Reader { message, version, flexible, bytes, at: 0 };
    let value = reader
        .fields(&message.structs[0])
        .with_context(|| format!("{} v{version}, at byte {} of {}", message.name, reader.at, bytes.len()))?;
    ensure!(
        reader.at == bytes.len(),
        "{} v{version}: {} bytes behind the message",
        message.name,
        bytes.len() - reader.at
    );
    Ok(value)
}

/// What a field holds where nothing is said.
pub fn default_of(message: &Message, field: &Field) -> Value {
    let nullable = !field.nullable.is_empty();
    match (&field.default, &field.ty) {
        (Some(text), _) if text == "null" => Value::Null,
        (Some(text), Type::Bool) => json!(text == "true"),
        (Some(text), Type::Str) => json!(text),
        (Some(text), Type::F64) => text.parse::<f64>().map_or(Value::Null, |number| json!(number)),
        (Some(text), _) => text.parse::<i64>().map_or(Value::Null, |number| json!(number)),
        (None, Type::Bool) => json!(false),
        (None, Type::Str | Type::Bytes) => json!(""),
        (None, Type::F64) => json!(0.0),
        (None, Type::Records) if nullable => Value::Null,
        (None, Type::Records | Type::Array(_)) => json!([]),
        (None, Type::Uuid) => json!(uuid_text(&[0; 16])),
        (None, Type::Struct(name)) => match structure(message, name) {
            Ok(of) => Value::Object(of.fields.iter().map(|f| (f.name.clone(), default_of(message, f))).collect()),
            Err(_) => Value::Null,
        },
        (None, _) => json!(0),
    }
}

/// A struct of a message.
///
/// # Errors
/// When there is none of this name.
pub fn structure<'a>(message: &'a Message, name: &str) -> Result<&'a Struct> {
    message.structs.iter().find(|of| of.name == name).with_context(|| format!("{} has no {name}", message.name))
}

/// `8-4-4-4-12` hexadecimal digits.
pub fn uuid_text(bytes: &[u8]) -> String {
    let hex = hex_text(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Hexadecimal digits.
pub fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; blanks and hyphens are passed over.
///
/// # Errors
/// When there is anything else.
pub fn hex_bytes(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b' ' | b'-')).collect();
    ensure!(digits.len().is_multiple_of(2), "'{text}': an odd number of digits");
    let digit =
        |of: u8| char::from(of).to_digit(16).map(|d| d as u8).with_context(|| format!("'{text}' is not hexadecimal"));
    digits.chunks(2).map(|pair| Ok(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// An unsigned number, seven bits a byte, the lowest first.
pub fn put_unsigned(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Writer<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
}

impl Writer<'_> {
    fn fields(&self, of: &Struct, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let object = value.as_object().with_context(|| format!("{}: {value} is no object", of.name))?;
        if let Some(stranger) = object.keys().find(|key| !of.fields.iter().any(|field| field.name == **key)) {
            bail!("{} has no field '{stranger}'", of.name);
        }
        let mut tags: Vec<(u32, Vec<u8>)> = Vec::new();
        for field in of.fields.iter().filter(|field| field.versions.contains(self.version)) {
            let default = default_of(self.message, field);
            let given = object.get(&field.name).unwrap_or(&default);
            match field.tag {
                Some(tag) if field.tagged.contains(self.version) => {
                    if *given != default {
                        let mut bytes = Vec::new();
                        self.field(field, given, &mut bytes)?;
                        tags.push((tag, bytes));
                    }
                }
                _ => self.field(field, given, out)?,
            }
        }
        if self.flexible {
            tags.sort_by_key(|(tag, _)| *tag);
            put_unsigned(tags.len() as u64, out);
            for (tag, bytes) in tags {
                put_unsigned(u64::from(tag), out);
                put_unsigned(bytes.len() as u64, out);
                out.extend(bytes);
            }
        }
        Ok(())
    }

    fn field(&self, field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<()> {
        let nullable = field.nullable.contains(self.version);
        ensure!(nullable || !value.is_null(), "{} cannot be null", field.name);
        let flexible = self.flexible && field.flexible;
        self.value(&field.ty, value, nullable, flexible, out).with_context(|| field.name.clone())
    }

    fn value(&self, ty: &Type, value: &Value, nullable: bool, flexible: bool, out: &mut Vec<u8>) -> Result<()> {
        let whole = || value.as_i64().with_context(|| format!("{value} is no whole number"));
        let text = || value.as_str().with_context(|| format!("{value} is no string"));
        match ty {
            Type::Bool => out.push(u8::from(value.as_bool().with_context(|| format!("{value} is no truth"))?)),
            Type::I8 => out.extend(i8::try_from(whole()?)?.to_be_bytes()),
            Type::I16 => out.extend(i16::try_from(whole()?)?.to_be_bytes()),
            Type::U16 => out.extend(u16::try_from(whole()?)?.to_be_bytes()),
            Type::I32 => out.extend(i32::try_from(whole()?)?.to_be_bytes()),
            Type::U32 => out.extend(u32::try_from(whole()?)?.to_be_bytes()),
            Type::I64 => out.extend(whole()?.to_be_bytes()),
            Type::F64 => out.extend(value.as_f64().with_context(|| format!("{value} is no number"))?.to_be_bytes()),
            Type::Uuid => {
                let bytes = hex_bytes(text()?)?;
                ensure!(bytes.len() == 16, "{value} is no uuid");
                out.extend(bytes);
            }
            Type::Str if value.is_null() => length(None, flexible, 2, out)?,
            Type::Str => {
                length(Some(text()?.len()), flexible, 2, out)?;
                out.extend(text()?.bytes());
            }
            Type::Bytes | Type::Records | Type::Array(_) if value.is_null() => length(None, flexible, 4, out)?,
            Type::Bytes => {
                let bytes = hex_bytes(text()?)?;
                length(Some(bytes.len()), flexible, 4, out)?;
                out.extend(bytes);
            }
            Type::Records => {
                let bytes = records::encode(value)?;
                length(Some(bytes.len()), flexible, 4, out)?;
                out.extend(bytes);
            }
            Type::Array(element) => {
                let elements = value.as_array().with_context(|| format!("{value} is no array"))?;
                length(Some(elements.len()), flexible, 4, out)?;
                for element_value in elements {
                    self.value(element, element_value, false, flexible, out)?;
                }
            }
            Type::Struct(name) => {
                if nullable {
                    out.push(if value.is_null() { 0xff } else { 1 });
                }
                if !value.is_null() {
                    self.fields(structure(self.message, name)?, value, out)?;
                }
            }
        }
        Ok(())
    }
}

/// The length before a string, bytes or an array: one more as a varint where compact, else in `width` bytes.
fn length(of: Option<usize>, compact: bool, width: usize, out: &mut Vec<u8>) -> Result<()> {
    match (compact, of) {
        (true, None) => out.push(0),
        (true, Some(length)) => put_unsigned(length as u64 + 1, out),
        (false, None) => out.extend(std::iter::repeat_n(0xff, width)),
        (false, Some(length)) if width == 2 => out.extend(i16::try_from(length)?.to_be_bytes()),
        (false, Some(length)) => out.extend(i32::try_from(length)?.to_be_bytes()),
    }
    Ok(())
}

struct Reader<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.with_context(|| format!("{count} bytes are missing"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a varint without an end")
    }

    fn length(&mut self, compact: bool, width: usize) -> Result<Option<usize>> {
        let length = match (compact, width) {
            (true, _) => self.unsigned()? as i64 - 1,
            (false, 2) => i64::from(i16::from_be_bytes(self.number()?)),
            (false, _) => i64::from(i32::from_be_bytes(self.number()?)),
        };
        match length {
            -1 => Ok(None),
            0.. => Ok(Some(usize::try_from(length)?)),
            _ => bail!("a length of {length}"),
        }
    }

    fn fields(&mut self, of: &Struct) -> Result<Value> {
        let mut object = Map::new();
        let version = self.version;
        for field in of.fields.iter().filter(|field| field.versions.contains(version)) {
            let is_tagged = field.tag.is_some() && field.tagged.contains(self.version);
            let value = if is_tagged { default_of(self.message, field) } else { self.field(field)? };
            object.insert(field.name.clone(), value);
        }
        if self.flexible {
            for _ in 0..self.unsigned()? {
                let (tag, length) = (self.unsigned()?, usize::try_from(self.unsigned()?)?);
                let end = self.at + length;
                let known = of
                    .fields
                    .iter()
                    .find(|field| field.tag.map(u64::from) == Some(tag) && field.tagged.contains(self.version));
                let (name, value) = match known {
                    Some(field) => (field.name.clone(), self.field(field)?),
                    None => (format!("{UNKNOWN_TAGS}_{tag}"), json!(hex_text(self.take(length)?))),
                };
                ensure!(self.at == end, "tag {tag} of {} says {length} bytes", of.name);
                object.insert(name, value);
            }
        }
        Ok(Value::Object(object))
    }

    fn field(&mut self, field: &Field) -> Result<Value> {
        let flexible = self.flexible && field.flexible;
        let nullable = field.nullable.contains(self.version);
        let value = self.value(&field.ty, nullable, flexible).with_context(|| field.name.clone())?;
        // A records field may be null whatever the schema says: brokers send it so.
        ensure!(nullable || field.ty == Type::Records || !value.is_null(), "{} is null", field.name);
        Ok(value)
    }

    fn value(&mut self, ty: &Type, nullable: bool, flexible: bool) -> Result<Value> {
        Ok(match ty {
            Type::Bool => match self.take(1)?[0] {
                0 => json!(false),
                1 => json!(true),
                // Not what an encoder writes.
                other => json!(format!("boolean {other}")),
            },
            Type::I8 => json!(i8::from_be_bytes(self.number()?)),
            Type::I16 => json!(i16::from_be_bytes(self.number()?)),
            Type::U16 => json!(u16::from_be_bytes(self.number()?)),
            Type::I32 => json!(i32::from_be_bytes(self.number()?)),
            Type::U32 => json!(u32::from_be_bytes(self.number()?)),
            Type::I64 => json!(i64::from_be_bytes(self.number()?)),
            Type::F64 => json!(f64::from_be_bytes(self.number()?)),
            Type::Uuid => json!(uuid_text(self.take(16)?)),
            Type::Str => match self.length(flexible, 2)? {
                None => Value::Null,
                Some(length) => json!(std::str::from_utf8(self.take(length)?)?),
            },
            Type::Bytes => match self.length(flexible, 4)? {
                None => Value::Null,
                Some(length) => json!(hex_text(self.take(length)?)),
            },
            Type::Records => match self.length(flexible, 4)? {
                None => Value::Null,
                Some(length) => records::decode(self.take(length)?),
            },
            Type::Array(element) => match self.length(flexible, 4)? {
                None => Value::Null,
                Some(count) => {
                    ensure!(count <= self.bytes.len(), "an array of {count}");
                    (0..count).map(|_| self.value(element, false, flexible)).collect::<Result<_>>()?
                }
            },
            Type::Struct(name) => {
                if nullable && i8::from_be_bytes(self.number()?) < 0 {
                    return Ok(Value::Null);
                }
                self.fields(structure(self.message, name)?)?
            }
        })
    }
}
