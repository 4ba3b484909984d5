//! Emits what spans messages: the enum of metadata records.

use std::fmt::Write;

use crate::schema::{Kind, Message};

/// `MetadataRecord`, one variant per record of `schemas/meta/`.
pub fn meta_enum(records: &[Message]) -> Result<String, String> {
    let (mut variants, mut names, mut ids, mut encode, mut decode, mut from) =
        (String::new(), String::new(), String::new(), String::new(), String::new(), String::new());
    let mut seen = Vec::new();
    for record in records {
        let Kind::Record(id) = record.kind else {
            return Err(format!("{}: schemas/meta holds records only", record.name));
        };
        if seen.contains(&id) {
            return Err(format!("{}: type id {id} is taken", record.name));
        }
        seen.push(id);
        let name = &record.name;
        let variant = name.strip_suffix("Record").ok_or_else(|| format!("{name} must end in 'Record'"))?;
        let high = record.versions.high;
        let _ = writeln!(variants, "{variant}({name}),");
        let _ = writeln!(names, "Self::{variant}(_) => {name:?},");
        let _ = writeln!(ids, "Self::{variant}(_) => {id},");
        let _ = writeln!(
            encode,
            "Self::{variant}(record) => {{ writer.varint({id}); writer.varint({high}); record.encode(writer, {high}) }}"
        );
        let _ = writeln!(decode, "{id} => body(reader).map(Self::{variant}),");
        let _ = writeln!(
            from,
            "impl From<{name}> for MetadataRecord {{ fn from(record: {name}) -> Self {{ Self::{variant}(record) }} }}"
        );
    }
    Ok(format!(
        "/// Any record of the metadata log.\n#[derive(Clone, Debug, PartialEq)]\npub enum MetadataRecord {{\n{variants}}}\n\
         impl MetadataRecord {{\n\
         /// The record's name.\npub fn name(&self) -> &'static str {{ match self {{\n{names}}} }}\n\
         /// The type id in front of the record.\npub fn type_id(&self) -> u32 {{ match self {{\n{ids}}} }}\n\
         /// Writes type id, newest version and body.\n\
         pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {{ match self {{\n{encode}}} }}\n\
         /// Reads type id, version and body.\n\
         pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {{ match reader.varint()? {{\n{decode}\
         id => Err(DecodeError::UnknownRecordType {{ id }}),\n}} }}\n}}\n{from}"
    ))
}
