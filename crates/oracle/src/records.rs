//! Record sets as trees, in every format, whole or wrong on purpose.
//!
//! A set is an array of batches (magic 2) or messages (magic 0 and 1), or a string of hexadecimal digits. Nothing here is the
//! broker's own code. What a tree leaves out is what a client would send; what it says is sent, also where it is wrong: `crc`,
//! `length`, `count`, `attributes`, `last_offset_delta`. A key or value is a string, `hex:` before digits where it is no text.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::codec::{hex_bytes, hex_text, put_unsigned};
use crate::compression::{Codec, compress, decompress};

/// Bytes of a batch before its records.
const BATCH_HEADER: usize = 61;
/// Offset and length, which every format begins with.
const LOG_OVERHEAD: usize = 12;

/// Encodes a record set.
///
/// # Errors
/// When the tree is none.
pub fn encode(set: &Value) -> Result<Vec<u8>> {
    match set {
        Value::String(digits) => hex_bytes(digits),
        Value::Array(batches) => {
            let mut out = Vec::new();
            for batch in batches {
                encode_batch(batch, &mut out).with_context(|| format!("in {batch}"))?;
            }
            Ok(out)
        }
        other => bail!("{other} is no record set"),
    }
}

fn int(of: &Value, name: &str, default: i64) -> Result<i64> {
    match of.get(name) {
        None => Ok(default),
        Some(value) => value.as_i64().with_context(|| format!("{name} is no whole number")),
    }
}

fn blob(value: Option<&Value>) -> Result<Option<Vec<u8>>> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match text.strip_prefix("hex:") {
            Some(digits) => hex_bytes(digits).map(Some),
            None => Ok(Some(text.clone().into_bytes())),
        },
        // So many bytes, without writing them all down.
        Some(Value::Number(size)) => Ok(Some(vec![b'x'; usize::try_from(size.as_u64().context("a negative size")?)?])),
        Some(other) => bail!("{other} is neither text nor a size"),
    }
}

fn codec_of(batch: &Value) -> Result<Codec> {
    batch.get("codec").map_or(Ok(Codec::None), |name| Codec::named(name.as_str().unwrap_or_default()))
}

fn encode_batch(batch: &Value, out: &mut Vec<u8>) -> Result<()> {
    match int(batch, "magic", 2)? {
        2 => encode_v2(batch, out),
        magic @ 0..=1 => encode_message(batch, magic as u8, out),
        // A whole batch of a format that there is not.
        magic => {
            let start = out.len();
            encode_v2(batch, out)?;
            out[start + 16] = magic as u8;
            Ok(())
        }
    }
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn put_signed(number: i64, out: &mut Vec<u8>) {
    put_unsigned(zigzag(number), out);
}

fn put_blob(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => put_signed(-1, out),
        Some(bytes) => {
            put_signed(bytes.len() as i64, out);
            out.extend(bytes);
        }
    }
}

fn encode_v2(batch: &Value, out: &mut Vec<u8>) -> Result<()> {
    let empty = Vec::new();
    let records = batch.get("records").and_then(Value::as_array).unwrap_or(&empty);
    let first = int(batch, "first_timestamp", records.first().map_or(Ok(-1), |r| int(r, "timestamp", -1))?)?;
    let (mut plain, mut latest) = (Vec::new(), first);
    for (at, record) in records.iter().enumerate() {
        let timestamp = int(record, "timestamp", first)?;
        latest = latest.max(timestamp);
        let mut body = vec![int(record, "attributes", 0)? as u8];
        put_signed(int(record, "timestamp_delta", timestamp.wrapping_sub(first))?, &mut body);
        put_signed(int(record, "offset_delta", at as i64)?, &mut body);
        put_blob(blob(record.get("key"))?.as_deref(), &mut body);
        put_blob(blob(record.get("value"))?.as_deref(), &mut body);
        let headers = record.get("headers").and_then(Value::as_array).unwrap_or(&empty);
        put_signed(int(record, "header_count", headers.len() as i64)?, &mut body);
        for header in headers {
            put_blob(blob(header.get("key"))?.as_deref(), &mut body);
            put_blob(blob(header.get("value"))?.as_deref(), &mut body);
        }
        put_signed(int(record, "length", body.len() as i64)?, &mut plain);
        plain.extend(body);
    }
    let codec = codec_of(batch)?;
    let flag =
        |name: &str, bit: i64| batch.get(name).and_then(Value::as_bool).map_or(0, |set| if set { bit } else { 0 });
    let attributes = codec.bits() | flag("append_time", 8) | flag("transactional", 16) | flag("control", 32);
    let start = out.len();
    out.extend(int(batch, "base_offset", 0)?.to_be_bytes());
    out.extend([0; 4]);
    out.extend((int(batch, "partition_leader_epoch", -1)? as i32).to_be_bytes());
    out.push(2);
    out.extend([0; 4]);
    let crc_from = out.len();
    out.extend((int(batch, "attributes", attributes)? as i16).to_be_bytes());
    out.extend((int(batch, "last_offset_delta", records.len() as i64 - 1)? as i32).to_be_bytes());
    out.extend(first.to_be_bytes());
    out.extend(int(batch, "max_timestamp", latest)?.to_be_bytes());
    out.extend(int(batch, "producer_id", -1)?.to_be_bytes());
    out.extend((int(batch, "producer_epoch", -1)? as i16).to_be_bytes());
    out.extend((int(batch, "base_sequence", -1)? as i32).to_be_bytes());
    out.extend((int(batch, "count", records.len() as i64)? as i32).to_be_bytes());
    out.extend(compress(codec, &plain, 2)?);
    out.extend(blob(batch.get("trailing"))?.unwrap_or_default());
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &out[crc_from..]) as i64;
    finish(batch, out, start, crc_from - 4, crc)
}

fn encode_message(message: &Value, magic: u8, out: &mut Vec<u8>) -> Result<()> {
    let codec = codec_of(message)?;
    let start = out.len();
    out.extend(int(message, "offset", 0)?.to_be_bytes());
    out.extend([0; 8]);
    let crc_from = out.len();
    out.push(magic);
    let append_time = message.get("append_time").and_then(Value::as_bool).unwrap_or_default();
    out.push(int(message, "attributes", codec.bits() | if append_time { 8 } else { 0 })? as u8);
    let inner = message.get("messages").and_then(Value::as_array);
    if magic == 1 {
        let newest = inner
            .into_iter()
            .flatten()
            .map(|of| int(of, "timestamp", -1))
            .max_by_key(|t| t.as_ref().copied().unwrap_or(-1));
        out.extend(int(message, "timestamp", newest.transpose()?.unwrap_or(-1))?.to_be_bytes());
    }
    let value = match inner {
        None => blob(message.get("value"))?,
        Some(inner) => {
            let mut plain = Vec::new();
            for of in inner {
                encode_message(of, int(of, "magic", i64::from(magic))? as u8, &mut plain)?;
            }
            Some(compress(codec, &plain, magic)?)
        }
    };
    for bytes in [blob(message.get("key"))?, value] {
        out.extend(bytes.as_ref().map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
        out.extend(bytes.unwrap_or_default());
    }
    let crc = i64::from(crc32fast::hash(&out[crc_from..]));
    finish(message, out, start, crc_from - 4, crc)
}

/// Fills in what is known at the end; `cut` takes bytes away from there.
fn finish(of: &Value, out: &mut Vec<u8>, start: usize, crc_at: usize, crc: i64) -> Result<()> {
    let length = int(of, "length", (out.len() - start - LOG_OVERHEAD) as i64)? as i32;
    out[start + 8..start + 12].copy_from_slice(&length.to_be_bytes());
    let crc = int(of, "crc", crc)? as u32;
    out[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
    let cut = usize::try_from(int(of, "cut", 0)?)?;
    ensure!(cut <= out.len() - start, "more is cut than there is");
    out.truncate(out.len() - cut);
    Ok(())
}

/// Decodes a record set as far as it can be; what cannot is shown as it is.
pub fn decode(bytes: &[u8]) -> Value {
    let (mut batches, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = rest.get(8..12).map(|b| i32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let end = length.and_then(|length| usize::try_from(length).ok()).map(|length| length + LOG_OVERHEAD);
        match end.filter(|end| *end <= rest.len()) {
            // A reader of old gets what fits, and the last may be cut off.
            None => {
                batches.push(json!({ "partial": rest.len(), "bytes": hex_text(rest) }));
                break;
            }
            Some(end) => {
                let batch = &rest[..end];
                let shown = decode_batch(batch);
                batches.push(
                    shown.unwrap_or_else(|why| json!({ "undecodable": hex_text(batch), "why": format!("{why:#}") })),
                );
                at += end;
            }
        }
    }
    Value::Array(batches)
}

/// Reads from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        ensure!(count <= self.0.len(), "{count} bytes are missing");
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    fn big<const N: usize>(&mut self) -> Result<i64> {
        let mut number = if self.0.first().is_some_and(|byte| *byte >= 0x80) { -1_i64 } else { 0 };
        for byte in self.take(N)? {
            number = number << 8 | i64::from(*byte);
        }
        Ok(number)
    }

    fn signed(&mut self) -> Result<i64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        bail!("a varint without an end")
    }

    fn blob(&mut self) -> Result<Value> {
        let length = self.signed()?;
        self.sized(length)
    }

    fn sized(&mut self, length: i64) -> Result<Value> {
        match length {
            -1 => Ok(Value::Null),
            _ => Ok(shown(self.take(usize::try_from(length)?)?)),
        }
    }
}

/// Text where it is such.
fn shown(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with("hex:") && !text.contains(|c: char| c.is_control()) => json!(text),
        _ => json!(format!("hex:{}", hex_text(bytes))),
    }
}

fn decode_batch(bytes: &[u8]) -> Result<Value> {
    match bytes.get(16) {
        Some(2) => decode_v2(bytes),
        Some(magic @ 0..=1) => decode_message(bytes, *magic),
        _ => bail!("no format that is known"),
    }
}

fn decode_v2(bytes: &[u8]) -> Result<Value> {
    ensure!(bytes.len() >= BATCH_HEADER, "too short");
    let mut input = Input(bytes);
    let mut batch = Map::new();
    let mut put = |name: &str, value: Value| drop(batch.insert(name.to_owned(), value));
    put("base_offset", json!(input.big::<8>()?));
    put("length", json!(input.big::<4>()?));
    put("partition_leader_epoch", json!(input.big::<4>()?));
    put("magic", json!(input.big::<1>()?));
    let crc = input.big::<4>()? as u32;
    let right = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &bytes[21..]) as u32;
    put("crc", json!(if crc == right { "right" } else { "wrong" }));
    let attributes = input.big::<2>()?;
    put("attributes", json!(attributes));
    put("last_offset_delta", json!(input.big::<4>()?));
    let first = input.big::<8>()?;
    put("first_timestamp", json!(first));
    put("max_timestamp", json!(input.big::<8>()?));
    put("producer_id", json!(input.big::<8>()?));
    put("producer_epoch", json!(input.big::<2>()?));
    put("base_sequence", json!(input.big::<4>()?));
    let count = input.big::<4>()?;
    put("count", json!(count));
    let codec = Codec::of_bits(attributes)?;
    if codec != Codec::None {
        // Compressed bytes are compared as they are.
        put("payload_crc", json!(crc32fast::hash(input.0)));
    }
    let plain = decompress(codec, input.0)?;
    let mut input = Input(&plain);
    let mut records = Vec::new();
    for _ in 0..count {
        let length = input.signed()?;
        let mut record = Input(input.take(usize::try_from(length)?)?);
        let attributes = record.big::<1>()?;
        let timestamp = first.wrapping_add(record.signed()?);
        let (offset_delta, key, value) = (record.signed()?, record.blob()?, record.blob()?);
        let mut headers = Vec::new();
        for _ in 0..record.signed()? {
            headers.push(json!({ "key": record.blob()?, "value": record.blob()? }));
        }
        ensure!(record.0.is_empty(), "bytes behind a record");
        records.push(json!({
            "attributes": attributes, "timestamp": timestamp, "offset_delta": offset_delta, "key": key, "value": value,
            "headers": headers,
        }));
    }
    put("records", json!(records));
    if !input.0.is_empty() {
        put("trailing", json!(hex_text(input.0)));
    }
    Ok(Value::Object(batch))
}

fn decode_message(bytes: &[u8], magic: u8) -> Result<Value> {
    let mut input = Input(bytes);
    let (offset, length, crc) = (input.big::<8>()?, input.big::<4>()?, input.big::<4>()? as u32);
    let is_right = crc == crc32fast::hash(input.0);
    input.take(1)?;
    let attributes = input.big::<1>()?;
    let timestamp = if magic == 1 { json!(input.big::<8>()?) } else { Value::Null };
    let key_length = input.big::<4>()?;
    let key = input.sized(key_length)?;
    let value_length = input.big::<4>()?;
    let codec = Codec::of_bits(attributes)?;
    let mut message = json!({
        "offset": offset, "length": length, "crc": if is_right { "right" } else { "wrong" }, "magic": magic,
        "attributes": attributes, "timestamp": timestamp, "key": key,
    });
    if codec == Codec::None || value_length < 0 {
        message["value"] = input.sized(value_length)?;
    } else {
        let payload = input.take(usize::try_from(value_length)?)?;
        message["payload_crc"] = json!(crc32fast::hash(payload));
        message["messages"] = decode(&decompress(codec, payload)?);
    }
    ensure!(input.0.is_empty(), "bytes behind a message");
    Ok(message)
}
