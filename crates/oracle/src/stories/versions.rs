//! What a connection begins with: versions, coordinators, and requests that are none.

use serde_json::{Value, json};

use super::Written;
use crate::story::{Author, Framing, Step};

pub const STORIES: &[Written] = &[
    Written { name: "versions: asked in every version", write: every_version },
    Written { name: "versions: asked in one that there is not", write: no_version },
    Written { name: "versions: asked again and again", write: again },
    Written { name: "versions: software that is named badly", write: bad_software },
    Written { name: "versions: a cluster and a node that were meant", write: meant },
    Written { name: "versions: a request of an unknown API", write: unknown_api },
    Written { name: "versions: a request in an unknown version", write: unknown_version },
    Written { name: "versions: a request of an API for brokers alone", write: between_brokers },
    Written { name: "versions: frames that are none", write: no_frames },
    Written { name: "versions: a body that is cut short", write: cut_short },
    Written { name: "versions: a body that goes on", write: goes_on },
    Written { name: "versions: a request without a client's name", write: nameless },
    Written { name: "versions: a frame in pieces", write: pieces },
    Written { name: "versions: tagged fields that nobody knows", write: tagged },
    Written { name: "versions: coordinators of every type", write: every_type },
    Written { name: "versions: coordinators of names that are none", write: no_keys },
    Written { name: "versions: coordinators of several at once", write: several_keys },
    Written { name: "versions: coordinators of share groups", write: share_keys },
];

fn every_version(author: &mut Author<'_>) {
    for version in 0..=5 {
        if author.versions("api_versions", version, version).is_empty() {
            continue;
        }
        let body = json!({ "client_software_name": "oracle", "client_software_version": "1.0" });
        author.ask_in("api_versions", version, version, body).on(i16::cast_unsigned(version).into());
    }
}

/// `size key version correlation client-id body`.
fn frame(key: i16, version: i16, client: Option<&str>, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend(client.map_or(-1, |client| client.len() as i16).to_be_bytes());
    frame.extend(client.unwrap_or_default().bytes());
    frame.extend(body);
    sized(&frame)
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// Sends it on its own connection, and looks whether that lives.
fn sends(author: &mut Author<'_>, connection: usize, bytes: Vec<u8>) {
    author.ask_in("api_versions", 0, 2, json!({})).on(connection);
    author.step(Step::Bytes { connection, bytes });
    author.ask_in("api_versions", 0, 2, json!({})).on(connection).patience_ms(2000);
}

fn no_version(author: &mut Author<'_>) {
    for (at, version) in [99, 6, i16::MAX, -1].into_iter().enumerate() {
        let body = json!({ "client_software_name": "oracle", "client_software_version": "1.0" });
        author.ask_as("api_versions", version, body).on(at);
        author.ask_in("api_versions", 0, 2, json!({})).on(at);
    }
}

fn again(author: &mut Author<'_>) {
    for _ in 0..5 {
        let name = author.random.of(["oracle", "another"]);
        author.ask("api_versions", json!({ "client_software_name": name, "client_software_version": "1" }));
    }
    author.ask_in("metadata", 4, i16::MAX, json!({ "topics": [], "allow_auto_topic_creation": false }));
    author.ask("api_versions", json!({ "client_software_name": "late", "client_software_version": "1" }));
}

fn bad_software(author: &mut Author<'_>) {
    let names =
        ["", " ", "a b", "-x", "x-", "x.", ".x", "a_b", "a/b", "\u{e4}", "a.b-c", "A9", "a--b", &"x".repeat(1000)];
    for (at, name) in names.into_iter().enumerate() {
        let (software, version) = if author.random.one_in(2) { (name, "1.0") } else { ("oracle", name) };
        author
            .ask_in(
                "api_versions",
                3,
                i16::MAX,
                json!({ "client_software_name": software, "client_software_version": version }),
            )
            .on(at);
    }
}

fn meant(author: &mut Author<'_>) {
    author.ask_in("metadata", 4, 12, json!({ "topics": [], "allow_auto_topic_creation": false })).label("m");
    let clusters = [Value::Null, json!("another"), json!(""), json!("$m/cluster_id")];
    for cluster in clusters {
        for node in [-1, 1, 2] {
            let body = json!({ "client_software_name": "oracle", "client_software_version": "1", "cluster_id": cluster, "node_id": node });
            author.ask_in("api_versions", 5, i16::MAX, body);
        }
    }
}

fn unknown_api(author: &mut Author<'_>) {
    for (at, key) in [1000, -1, 94, i16::MAX, i16::MIN].into_iter().enumerate() {
        let version = author.random.of([0, 1, -1]);
        sends(author, at, frame(key, version, Some("oracle"), &[]));
    }
}

fn unknown_version(author: &mut Author<'_>) {
    for (at, key) in [0, 1, 2, 3, 8, 9, 10, 11, 19, 22, 32, 60].into_iter().enumerate() {
        let version = author.random.of([99, -1, i16::MAX]);
        sends(author, at, frame(key, version, Some("oracle"), &[0; 8]));
    }
}

fn between_brokers(author: &mut Author<'_>) {
    // LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown, Vote, Envelope, BrokerRegistration.
    for (at, key) in [4, 5, 6, 7, 52, 58, 62].into_iter().enumerate() {
        sends(author, at, frame(key, 0, Some("oracle"), &[0; 40]));
    }
}

fn no_frames(author: &mut Author<'_>) {
    let frames = [
        sized(&[]),
        sized(&[0]),
        sized(&[0, 18, 0]),
        sized(&[0, 18, 0, 0, 0, 0, 0]),
        (-1_i32).to_be_bytes().to_vec(),
        i32::MAX.to_be_bytes().to_vec(),
        (104_857_601_i32).to_be_bytes().to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3],
    ];
    for (at, bytes) in frames.into_iter().enumerate() {
        sends(author, at, bytes);
    }
}

fn cut_short(author: &mut Author<'_>) {
    // Metadata and others whose bodies are missing, or name more than there is.
    for (at, (key, version, body)) in [
        (3, 4, &[] as &[u8]),
        (3, 4, &[0, 0, 0, 5]),
        (3, 4, &[0x7f, 0xff, 0xff, 0xff]),
        (10, 0, &[0, 9]),
        (19, 2, &[0, 0, 0, 1, 0]),
        (12, 0, &[0xff, 0xff]),
    ]
    .into_iter()
    .enumerate()
    {
        sends(author, at, frame(key, version, Some("oracle"), body));
    }
}

fn goes_on(author: &mut Author<'_>) {
    for trailing in [1, 4, 100] {
        let framing = Framing { trailing, ..Framing::default() };
        let at = trailing;
        author.ask("metadata", json!({ "topics": [], "allow_auto_topic_creation": false })).on(at).framed(framing);
        author.ask("api_versions", json!({ "client_software_name": "oracle", "client_software_version": "1" })).on(at);
        author.ask("list_groups", json!({})).on(at + 1).framed(framing);
        author.ask("heartbeat", json!({ "group_id": "@none", "member_id": "m" })).on(at + 2).framed(framing);
    }
}

fn nameless(author: &mut Author<'_>) {
    for (at, client) in [None, Some(""), Some("\u{e4}")].into_iter().enumerate() {
        let framing = Framing { client: Some(client), ..Framing::default() };
        author.ask("metadata", json!({ "topics": [], "allow_auto_topic_creation": false })).on(at).framed(framing);
        author
            .ask("api_versions", json!({ "client_software_name": "oracle", "client_software_version": "1" }))
            .on(at)
            .framed(framing);
        author.ask("heartbeat", json!({ "group_id": "@none", "member_id": "m" })).on(at).framed(framing);
    }
    // What a group says of its members' clients.
    for (at, client) in [Some(""), None].into_iter().enumerate() {
        let framing = Framing { client: Some(client), ..Framing::default() };
        let protocols = json!([{ "name": "range", "metadata": "00" }]);
        let body = json!({
            "group_id": format!("@g{at}"), "session_timeout_ms": 60_000, "rebalance_timeout_ms": 60_000, "member_id": "",
            "protocol_type": "consumer", "protocols": protocols,
        });
        author.ask_in("join_group", 0, 3, body).on(at).framed(framing);
        author.ask("describe_groups", json!({ "groups": [format!("@g{at}")] })).on(at);
    }
}

fn tagged(author: &mut Author<'_>) {
    let framing = Framing { has_tags: true, ..Framing::default() };
    author.ask_in("metadata", 9, i16::MAX, json!({ "topics": [], "allow_auto_topic_creation": false })).framed(framing);
    let software = json!({ "client_software_name": "oracle", "client_software_version": "1" });
    author.ask_in("api_versions", 3, i16::MAX, software).framed(framing);
    author.ask_in("heartbeat", 4, i16::MAX, json!({ "group_id": "@none", "member_id": "m" })).framed(framing);
    author.ask_in("list_groups", 3, i16::MAX, json!({})).framed(framing);
}

fn pieces(author: &mut Author<'_>) {
    for first in [1, 3, 4, 5, 13] {
        let framing = Framing { first_piece: Some(first), ..Framing::default() };
        author.ask("metadata", json!({ "topics": [], "allow_auto_topic_creation": false })).framed(framing);
    }
}

fn every_type(author: &mut Author<'_>) {
    for key_type in [0, 1] {
        author.ask_in("find_coordinator", 1, 3, json!({ "key": "@g", "key_type": key_type })).settled();
        author
            .ask_in("find_coordinator", 4, i16::MAX, json!({ "key_type": key_type, "coordinator_keys": ["@g"] }))
            .settled();
    }
    for key_type in [2, 3, -1, 127] {
        author.ask_in("find_coordinator", 1, 3, json!({ "key": "@g", "key_type": key_type }));
        author.ask_in("find_coordinator", 4, i16::MAX, json!({ "key_type": key_type, "coordinator_keys": ["@g"] }));
    }
    author.ask_in("find_coordinator", 0, 0, json!({ "key": "@g" })).settled();
}

fn no_keys(author: &mut Author<'_>) {
    for key in ["", " ", "\u{e4}", &"x".repeat(1000)] {
        let key_type = author.random.of([0, 1]);
        author.ask_in("find_coordinator", 1, 3, json!({ "key": key, "key_type": key_type })).settled();
        author
            .ask_in("find_coordinator", 4, i16::MAX, json!({ "key_type": key_type, "coordinator_keys": [key] }))
            .settled();
    }
}

fn several_keys(author: &mut Author<'_>) {
    for keys in [&["@a", "@b", "@c"] as &[&str], &[], &["@a", "@a"], &["@a", "", "@b"]] {
        let key_type = author.random.of([0, 1]);
        author
            .ask_in("find_coordinator", 4, i16::MAX, json!({ "key_type": key_type, "coordinator_keys": keys }))
            .settled();
    }
}

fn share_keys(author: &mut Author<'_>) {
    // A right one would have Kafka create its topic, if it takes part in share groups at all.
    for key in ["g", "g:", "g:AAAAAAAAAAAAAAAAAAAAAQ:x", ":::", ""] {
        author.ask_in("find_coordinator", 4, i16::MAX, json!({ "key_type": 2, "coordinator_keys": [key] }));
    }
}
