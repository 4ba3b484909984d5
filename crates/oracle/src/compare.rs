//! Where two answers differ.

use serde_json::{Value, json};

use crate::connection::Answer;

/// A place at which two answers are not the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// A JSON pointer into the replies.
    pub place: String,
    /// The same without the indices of arrays: which field of the schema it is.
    pub field: String,
    /// What Kafka says.
    pub kafka: Value,
    /// What Headwater says.
    pub headwater: Value,
}

/// Every place at which two answers differ, the first first.
pub fn compare(kafka: &Answer, headwater: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    match (kafka, headwater) {
        (Answer::Reply(kafka), Answer::Reply(headwater)) => walk("", "", kafka, headwater, &mut found),
        (kafka, headwater) if kafka == headwater => {}
        _ => found.push(Difference {
            place: String::new(),
            field: String::new(),
            kafka: outcome(kafka),
            headwater: outcome(headwater),
        }),
    }
    found
}

fn outcome(answer: &Answer) -> Value {
    match answer {
        Answer::Reply(_) => json!("<a reply>"),
        Answer::Garbled(why) => json!(format!("<garbled: {why}>")),
        Answer::Closed => json!("<closes the connection>"),
        Answer::Silence => json!("<no answer>"),
    }
}

fn walk(place: &str, field: &str, kafka: &Value, headwater: &Value, found: &mut Vec<Difference>) {
    match (kafka, headwater) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
                let null = Value::Null;
                let (left, right) = (left.get(name).unwrap_or(&null), right.get(name).unwrap_or(&null));
                walk(&format!("{place}/{name}"), &format!("{field}/{name}"), left, right, found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (at, (left, right)) in left.iter().zip(right).enumerate() {
                walk(&format!("{place}/{at}"), field, left, right, found);
            }
        }
        _ if kafka == headwater => {}
        _ => found.push(Difference {
            place: place.to_owned(),
            field: field.to_owned(),
            kafka: kafka.clone(),
            headwater: headwater.clone(),
        }),
    }
}
