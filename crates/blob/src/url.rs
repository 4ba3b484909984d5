//! Store URLs.
//!
//! ```text
//! s3://bucket/prefix?region=…&endpoint=…&pathStyle=true     gs://bucket/prefix
//! oss:// cos:// obs:// bos://bucket/prefix?endpoint=…       az://container/prefix?account=…&endpoint=…
//! file:///absolute/dir   file:relative/dir                  memory://
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::OpenError;

/// A parsed store URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    pub(crate) place: Place,
}

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Directory(PathBuf),
}

impl StoreUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, OpenError> {
        let fail = |reason: String| OpenError::InvalidUrl { url: url.to_owned(), reason };
        let (scheme, rest) = url.split_once(':').ok_or_else(|| {
            fail("it has no scheme; write file:///dir for a directory or s3://bucket/prefix for a bucket".to_owned())
        })?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parameters = parse_query(query).map_err(fail)?;
        let place = match scheme {
            "memory" => Place::Memory,
            "file" => {
                let path = percent_decode(path.strip_prefix("//").unwrap_or(path)).map_err(fail)?;
                if path.is_empty() {
                    return Err(fail("it names no directory; write file:///dir".to_owned()));
                }
                Place::Directory(PathBuf::from(path))
            }
            _ => {
                return Err(fail(format!("unknown scheme {scheme:?}; use file, memory")));
            }
        };
        if let Some((name, _)) = parameters.pop_first() {
            return Err(fail(format!("unknown parameter {name:?}")));
        }
        Ok(Self { place })
    }
}

fn parse_query(query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut parameters = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("parameter {pair:?} has no value"))?;
        if parameters.insert(percent_decode(name)?, percent_decode(value)?).is_some() {
            return Err(format!("parameter {name:?} is given twice"));
        }
    }
    Ok(parameters)
}

fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let decoded = after
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.ok_or_else(|| format!("{text:?} has a % that is not followed by two hex digits"))?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{text:?} is not UTF-8"))
}
