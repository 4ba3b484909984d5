//! The oracle's own parts: what it cannot see, nobody sees.

use serde_json::{Map, Value, json};

use crate::allowed::{ROWS, Row, row_for};
use crate::catalogue::Catalogue;
use crate::codec::{decode, default_of, encode};
use crate::compare::{Difference, compare};
use crate::compression::Codec;
use crate::connection::Answer;
use crate::generate::{APIS, chunk};
use crate::normal::Normal;
use crate::plant::Plant;
use crate::records;
use crate::run::Exchange;
use crate::shrink::shrink;
use crate::stories;
use crate::story::{Author, Spoken, Step, Story};

/// A pair that speaks everything.
#[derive(Debug)]
struct Everything(Catalogue);

impl Spoken for Everything {
    fn versions(&self, api: &str) -> (i16, Option<(i16, i16)>) {
        let api = self.0.named(api).unwrap();
        let versions = api.request.versions;
        (api.key, Some((versions.low, versions.high)))
    }
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for api in Catalogue::load().unwrap().iter() {
        for message in [&api.request, &api.response] {
            for version in message.versions.low..=message.versions.high {
                let fields = message.structs[0].fields.iter().filter(|field| field.versions.contains(version));
                let members: Map<String, Value> =
                    fields.map(|field| (field.name.clone(), default_of(message, field))).collect();
                let Ok(bytes) = encode(message, version, &Value::Object(members)) else { continue };
                let read = decode(message, version, &bytes).unwrap();
                assert_eq!(encode(message, version, &read).unwrap(), bytes, "{} v{version}", message.name);
            }
        }
    }
}

#[test]
fn what_does_not_suit_a_message_is_refused() {
    let catalogue = Catalogue::load().unwrap();
    let heartbeat = &catalogue.named("heartbeat").unwrap().request;
    let whole = json!({ "group_id": "g", "generation_id": 1, "member_id": "m" });
    let bytes = encode(heartbeat, 4, &whole).unwrap();
    assert_eq!(decode(heartbeat, 4, &bytes).unwrap()["member_id"], json!("m"));
    assert!(decode(heartbeat, 4, &bytes[..bytes.len() - 1]).is_err());
    assert!(decode(heartbeat, 4, &[&bytes[..], &[0]].concat()).is_err());
    for (field, value) in [("generation_id", json!(1_i64 << 40)), ("group_id", Value::Null), ("no_field", json!(1))] {
        let mut wrong = whole.clone();
        wrong[field] = value;
        assert!(encode(heartbeat, 4, &wrong).is_err(), "{field}");
    }
}

#[test]
fn record_sets_of_every_format_and_codec_are_read_as_they_were_written() {
    for codec in Codec::ALL {
        let record = json!({ "key": "k", "value": "v", "timestamp": 1000, "headers": [{ "key": "h", "value": null }] });
        let set =
            json!([{ "codec": codec.name(), "records": [record, { "key": null, "value": "w", "timestamp": 1001 }] }]);
        let read = records::decode(&records::encode(&set).unwrap());
        assert_eq!(
            (&read[0]["crc"], &read[0]["count"], &read[0]["max_timestamp"]),
            (&json!("right"), &json!(2), &json!(1001))
        );
        assert_eq!(read[0]["records"][0]["headers"], json!([{ "key": "h", "value": null }]), "{codec:?}");
        assert_eq!(read[0]["records"][1]["value"], json!("w"));
        for magic in [0, 1] {
            let message = json!({ "magic": magic, "offset": 7, "key": "k", "value": "v", "timestamp": 5 });
            let set = match codec {
                Codec::None => json!([message]),
                _ => json!([{ "magic": magic, "codec": codec.name(), "offset": 7, "messages": [message] }]),
            };
            let read = records::decode(&records::encode(&set).unwrap());
            let inner = if codec == Codec::None { &read[0] } else { &read[0]["messages"][0] };
            assert_eq!((&read[0]["crc"], &inner["value"], &inner["offset"]), (&json!("right"), &json!("v"), &json!(7)));
        }
    }
    let cut = records::encode(&json!([{ "records": [{ "value": "v" }], "cut": 3 }])).unwrap();
    assert!(records::decode(&cut)[0]["partial"].is_number());
    let wrong = records::encode(&json!([{ "records": [{ "value": "v" }], "crc": 1 }])).unwrap();
    assert_eq!(records::decode(&wrong)[0]["crc"], json!("wrong"));
}

#[test]
fn ids_and_times_are_made_alike_and_nothing_else() {
    let catalogue = Catalogue::load().unwrap();
    let api = catalogue.named("metadata").unwrap();
    let mut here = Normal::new("o0000001-", 1000, 2_000_000_000_000);
    let mut there = Normal::new("o0000001-", 2000, 2_000_000_000_000);
    let reply = |id: &str, port: u16, others: Value| {
        json!({
            "brokers": [{ "host": "127.0.0.1", "port": port }],
            "topics": [{ "name": "o0000001-t", "topic_id": id, "leader_epoch": 0 }, others],
        })
    };
    let other = json!({ "name": "o0000002-t", "topic_id": "x" });
    let kafka = here.reply(api, &reply("aaaa", 1000, other.clone()));
    assert_eq!(
        kafka["topics"],
        json!([{ "name": "@t", "topic_id": "<topic 1>", "leader_epoch": 0 }]),
        "others are left out"
    );
    assert_eq!(kafka, there.reply(api, &reply("bbbb", 2000, other)));
    // Another id is another number; topics of metadata are in no order.
    let second = there.reply(api, &json!({ "topics": [{ "topic_id": "cccc" }, { "topic_id": "bbbb" }] }));
    assert_eq!(second["topics"], json!([{ "topic_id": "<topic 1>" }, { "topic_id": "<topic 2>" }]));
    let times = json!({ "timestamp": 2_000_000_000_500_i64, "offset": 5, "throttle_time_ms": 3 });
    assert_eq!(there.reply(api, &times), json!({ "timestamp": "<now>", "offset": 5, "throttle_time_ms": 3 }));
    let past = json!({ "timestamp": 1_600_000_000_000_i64 });
    assert_eq!(there.reply(api, &past), past);
}

#[test]
fn every_difference_is_seen_and_named() {
    let reply = |value: Value| Answer::Reply(value);
    let kafka = json!({ "topics": [{ "name": "a", "error_code": 0 }, { "name": "b", "error_code": 3 }] });
    let fields = |headwater: Value| -> Vec<String> {
        compare(&reply(kafka.clone()), &reply(headwater)).into_iter().map(|found| found.place).collect()
    };
    assert!(fields(kafka.clone()).is_empty());
    let code = json!({ "topics": [{ "name": "a", "error_code": 0 }, { "name": "b", "error_code": 17 }] });
    assert_eq!(fields(code), ["/topics/1/error_code"]);
    let order = json!({ "topics": [{ "name": "b", "error_code": 3 }, { "name": "a", "error_code": 0 }] });
    assert_eq!(fields(order).len(), 4);
    assert_eq!(fields(json!({ "topics": [] })), ["/topics"]);
    assert_eq!(fields(json!({ "topics": null })), ["/topics"]);
    for other in [Answer::Closed, Answer::Silence, Answer::Garbled("x".to_owned())] {
        assert_eq!(compare(&reply(kafka.clone()), &other).len(), 1);
    }
}

#[test]
fn a_story_is_made_as_small_as_its_difference() {
    let everything = Everything(Catalogue::load().unwrap());
    let mut author = Author::new(&everything, 1);
    for at in 0..20 {
        author.ask("heartbeat", json!({ "group_id": format!("@g{at}"), "generation_id": at, "member_id": "m" }));
    }
    let story = author.finish("many".to_owned(), 1).unwrap();
    let shows = |story: &Story| {
        story.steps.iter().any(|step| matches!(step, Step::Ask(ask) if ask.body["generation_id"] == json!(13)))
    };
    let small = shrink(&story, shows);
    let [Step::Ask(ask)] = &small.steps[..] else { panic!("{small:?}") };
    assert_eq!(ask.body, json!({ "generation_id": 13 }));
}

#[test]
fn stories_and_cases_can_be_written_for_every_api_and_come_out_the_same_each_time() {
    let everything = Everything(Catalogue::load().unwrap());
    for story in stories::all() {
        let write = || format!("{:?}", story.written(&everything, 7).expect(story.name));
        assert_eq!(write(), write(), "{}", story.name);
    }
    for api in APIS {
        let write = || format!("{:?}", chunk(&everything.0, &everything, api, (0, i16::MAX), 3).expect(api));
        assert_eq!(write(), write(), "{api}");
    }
}

#[test]
fn each_plant_has_a_name_of_its_own() {
    for plant in Plant::ALL {
        assert_eq!(Plant::ALL.iter().filter(|other| other.name == plant.name).count(), 1);
        assert_eq!(Plant::named(plant.name).map(|found| found.name), Some(plant.name));
    }
}

#[test]
fn the_table_of_what_may_differ_is_short_and_gives_reasons() {
    assert!(ROWS.len() <= 40);
    let catalogue = Catalogue::load().unwrap();
    for row in ROWS {
        assert!(catalogue.named(row.api).is_ok() && row.versions.0 <= row.versions.1);
        // A row without a field is about whether there is an answer.
        assert!(!row.reason.is_empty());
    }
    let missing = Difference {
        place: "/api_keys/24".to_owned(),
        field: "/api_keys/24".to_owned(),
        kafka: json!({ "api_key": 24 }),
        headwater: Value::Null,
    };
    let said = |reply: Value| Exchange {
        story: String::new(),
        step: 0,
        is_again: false,
        prepares: false,
        api: 18,
        version: 3,
        asked: json!({ "key_type": 1 }),
        answers: [Answer::Reply(reply), Answer::Silence],
        differences: Vec::new(),
        exposed: Vec::new(),
    };
    let exchange = said(json!({ "results": [{ "kind": 1 }, { "kind": 2, "configs": [{}] }] }));
    assert!(row_for("api_versions", &exchange, &missing).is_some());
    let off = Difference { field: "/api_keys/8/max_version".to_owned(), headwater: json!(9), ..missing.clone() };
    assert!(row_for("api_versions", &exchange, &off).is_none(), "what both serve is compared");
    assert!(row_for("fetch", &exchange, &missing).is_none());
    let row = Row { field: "/results/*", within: Some(("kind", &["2", "3"])), ..Row::of("describe_configs") };
    let at = |place: &str| Difference {
        place: place.to_owned(),
        field: "/results/configs/name".to_owned(),
        kafka: Value::Null,
        headwater: Value::Null,
    };
    assert!(row.allows("describe_configs", &exchange, &at("/results/1/configs/0/name")));
    assert!(!row.allows("describe_configs", &exchange, &at("/results/0/configs/0/name")));
    assert!(!row.allows("alter_configs", &exchange, &at("/results/1/configs/0/name")));
}
