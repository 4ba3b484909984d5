//! The schemas of all APIs, and the facts that a client needs beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use schema::{Kind, Message};

/// An API: its two messages.
#[derive(Debug)]
pub struct Api {
    /// Its number.
    pub key: i16,
    /// `CreateTopics`
    pub name: String,
    /// `create_topics`, as stories call it.
    pub snake: String,
    /// What is asked.
    pub request: Message,
    /// What is answered.
    pub response: Message,
}

impl Api {
    /// As which version a request is written: one that is not known yet as the last that is.
    pub fn written_as(&self, version: i16) -> i16 {
        version.min(self.request.versions.high)
    }

    /// The version of the request's header: 2 where flexible.
    pub fn is_request_flexible(&self, version: i16) -> bool {
        self.request.flexible.contains(self.written_as(version))
    }

    /// Whether tagged fields follow the correlation id. ApiVersions answers as of old, since a client does not know yet what
    /// the broker speaks.
    pub fn is_response_header_flexible(&self, version: i16) -> bool {
        self.key != 18 && self.response.flexible.contains(version)
    }
}

/// Every API of the schemas.
#[derive(Debug)]
pub struct Catalogue {
    apis: BTreeMap<i16, Api>,
}

impl Catalogue {
    /// Reads the workspace's schemas.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load() -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/schemas/kafka");
        let (mut requests, mut responses) = (BTreeMap::new(), BTreeMap::new());
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let text = fs::read_to_string(&path)?;
            for message in schema::parse(&text).map_err(|why| anyhow!("{}:{why}", path.display()))? {
                match message.kind {
                    Kind::Request(key) => drop(requests.insert(key, message)),
                    Kind::Response(key) => drop(responses.insert(key, message)),
                    _ => {}
                }
            }
        }
        let mut apis = BTreeMap::new();
        for (key, request) in requests {
            let response = responses.remove(&key).with_context(|| format!("{} has no response", request.name))?;
            let name = request.name.trim_end_matches("Request").to_owned();
            apis.insert(key, Api { key, snake: snake(&name), name, request, response });
        }
        Ok(Self { apis })
    }

    /// An API by its number.
    ///
    /// # Errors
    /// When there is none.
    pub fn api(&self, key: i16) -> Result<&Api> {
        self.apis.get(&key).with_context(|| format!("no API has the number {key}"))
    }

    /// An API by the name that stories use.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, snake: &str) -> Result<&Api> {
        self.apis.values().find(|api| api.snake == snake).with_context(|| format!("no API is called '{snake}'"))
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Api> {
        self.apis.values()
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
