//! Emits what spans messages: the facts about APIs, the registry of all messages, the enums of metadata records and of
//! what brokers ask each other.

use std::fmt::Write;

use crate::model::snake;
use schema::{Kind, Message};

/// The least number of what brokers ask each other. Kafka's own are far below.
const BROKER_API_MIN: i16 = 10_000;

/// The versions of every API and the `Request` impls; request and response follow each other.
pub fn api_facts(messages: &[Message]) -> Result<String, String> {
    let (mut facts, mut impls) = (String::new(), String::new());
    for pair in messages.chunks(2) {
        let [request, response] = pair else {
            return Err(format!("{} has no response", pair[0].name));
        };
        let (Kind::Request(key), Kind::Response(of)) = (request.kind, response.kind) else {
            return Err(format!("{} and {} are no pair", request.name, response.name));
        };
        if key != of || request.versions != response.versions || request.flexible != response.flexible {
            return Err(format!("{} and {} differ in key, versions or flexible versions", request.name, response.name));
        }
        let flexible_from = if request.flexible.is_empty() { i16::MAX } else { request.flexible.low };
        let _ = writeln!(
            facts,
            "ApiFacts {{ key: {key}, low: {}, high: {}, flexible_from: {flexible_from} }},",
            request.versions.low, request.versions.high
        );
        let api = request.name.strip_suffix("Request").unwrap_or(&request.name);
        let _ = writeln!(
            impls,
            "impl crate::Request for crate::messages::{} {{\nconst API_KEY: ApiKey = ApiKey::{api};\n\
             type Response = crate::messages::{};\n}}",
            request.name, response.name
        );
    }
    Ok(format!("static API_FACTS: &[ApiFacts] = &[\n{facts}];\n{impls}"))
}

/// `BrokerApi`, one variant for each pair of request and response of `schemas/broker/`, and the `BrokerRequest` impls.
pub fn broker_apis(messages: &[Message]) -> Result<String, String> {
    let (mut variants, mut all, mut names, mut versions, mut impls) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    let mut seen = Vec::new();
    let apis: Vec<&Message> = messages.iter().filter(|m| m.kind != Kind::Data).collect();
    let mut pairs: Vec<&[&Message]> = apis.chunks(2).collect();
    pairs.sort_by_key(|pair| if let Kind::Request(key) = pair[0].kind { key } else { 0 });
    for pair in pairs {
        let (Kind::Request(key), Some(response)) = (pair[0].kind, pair.get(1)) else {
            return Err(format!("{} is no request with a response", pair[0].name));
        };
        let request = pair[0];
        if response.kind != Kind::Response(key) || request.versions != response.versions {
            return Err(format!("{} and {} are no pair", request.name, response.name));
        }
        if key < BROKER_API_MIN || seen.contains(&key) {
            return Err(format!("{}: API key {key} is taken, or may be Kafka's", request.name));
        }
        seen.push(key);
        let api = request.name.strip_suffix("Request").ok_or_else(|| format!("{} is no request", request.name))?;
        let (low, high) = (request.versions.low, request.versions.high);
        let _ = writeln!(variants, "{api} = {key},");
        let _ = writeln!(all, "Self::{api},");
        let _ = writeln!(names, "Self::{api} => {api:?},");
        let _ = writeln!(versions, "Self::{api} => {low}..={high},");
        let _ = writeln!(
            impls,
            "impl BrokerRequest for {} {{\nconst API: BrokerApi = BrokerApi::{api};\ntype Response = {};\n}}",
            request.name, response.name
        );
    }
    Ok(format!(
        "/// What one broker can ask another, each with its number.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i16)]\n\
         pub enum BrokerApi {{\n{variants}}}\n\
         impl BrokerApi {{\n\
         /// All of them, in the order of their numbers.\npub const ALL: &[Self] = &[\n{all}];\n\
         /// Its name, such as `MetaCommit`.\npub const fn name(self) -> &'static str {{ match self {{\n{names}}} }}\n\
         /// The versions that exist.\n\
         pub const fn versions(self) -> RangeInclusive<i16> {{ match self {{\n{versions}}} }}\n}}\n{impls}"
    ))
}

/// The `RecordKey` impls; a key and its value follow each other.
pub fn record_keys(messages: &[Message]) -> Result<String, String> {
    let mut impls = String::new();
    let of_topics: Vec<&Message> = messages.iter().filter(|m| m.kind != Kind::Data).collect();
    for pair in of_topics.chunks(2) {
        let (Kind::Key(number), Some(value)) = (pair[0].kind, pair.get(1)) else {
            return Err(format!("{} is not followed by its value", pair[0].name));
        };
        if value.kind != Kind::Value(number) {
            return Err(format!("{} and {} are no pair", pair[0].name, value.name));
        }
        let _ = writeln!(
            impls,
            "impl RecordKey for {} {{\nconst RECORD_TYPE: i16 = {number};\ntype Value = {};\n}}",
            pair[0].name, value.name
        );
    }
    Ok(impls)
}

/// One entry for every message, with the module it lives in.
pub fn registry(messages: &[(&str, &Message)]) -> String {
    let mut entries = String::new();
    for (module, message) in messages {
        let kind = match message.kind {
            Kind::Request(key) if *module == "broker" => format!("Kind::BrokerRequest({key})"),
            Kind::Response(key) if *module == "broker" => format!("Kind::BrokerResponse({key})"),
            Kind::Data if *module == "broker" => "Kind::BrokerData".to_owned(),
            Kind::Request(key) => format!("Kind::Request({key})"),
            Kind::Response(key) => format!("Kind::Response({key})"),
            Kind::Header => "Kind::Header".to_owned(),
            Kind::Data => "Kind::Data".to_owned(),
            Kind::Key(number) => format!("Kind::Key({number})"),
            Kind::Value(number) => format!("Kind::Value({number})"),
            Kind::Record(number) => format!("Kind::Metadata({number})"),
        };
        let _ = writeln!(entries, "entry::<crate::{}>({kind}),", path(module, message));
    }
    format!("/// All of them.\npub static MESSAGES: &[Entry] = &[\n{entries}];\n")
}

/// The path of a message below the crate's root.
pub fn path(module: &str, message: &Message) -> String {
    match module {
        "messages" | "records" => format!("{module}::{}::{}", snake(&message.name), message.name),
        _ => format!("{module}::{}", message.name),
    }
}

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
