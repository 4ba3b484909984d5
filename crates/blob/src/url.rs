//! Store URLs.
//!
//! ```text
//! s3://bucket/prefix?region=…&endpoint=…&pathStyle=true&checksum=none     gs://bucket/prefix
//! oss:// cos:// obs:// bos://bucket/prefix?endpoint=…       az://container/prefix?account=…&endpoint=…
//! file:///absolute/dir   file:relative/dir                  memory://
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::backend::check_prefix;
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
    Bucket(Bucket),
}

/// A kind of cloud store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Amazon S3, whatever speaks its protocol, and Baidu BOS.
    S3,
    Gcs,
    Azblob,
    Oss,
    Cos,
    Obs,
}

/// A bucket of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) service: Service,
    pub(crate) name: String,
    /// Prefix of all keys, without slashes around it; may be empty.
    pub(crate) prefix: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: Option<bool>,
    /// Whether the store is sent a CRC-32C with every write. Some that speak S3's protocol refuse what they do not know.
    pub(crate) checksum: bool,
    /// Storage account, Azure only.
    pub(crate) account: Option<String>,
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
            _ => Place::Bucket(parse_bucket(scheme, path, &mut parameters).map_err(fail)?),
        };
        if let Some((name, _)) = parameters.pop_first() {
            return Err(fail(format!("parameter {name:?} is not known for {scheme}")));
        }
        Ok(Self { place })
    }
}

fn parse_bucket(scheme: &str, path: &str, parameters: &mut BTreeMap<String, String>) -> Result<Bucket, String> {
    let service = match scheme {
        "s3" | "s3a" | "bos" => Service::S3,
        "gs" | "gcs" => Service::Gcs,
        "az" | "azblob" => Service::Azblob,
        "oss" => Service::Oss,
        "cos" => Service::Cos,
        "obs" => Service::Obs,
        _ => return Err(format!("scheme {scheme:?} is not one of file, memory, s3, gs, az, oss, cos, obs, bos")),
    };
    let path = path.strip_prefix("//").ok_or_else(|| format!("write {scheme}://bucket/prefix"))?;
    let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
    let prefix = percent_decode(prefix)?.trim_matches('/').to_owned();
    if name.is_empty() {
        return Err(format!("it names no bucket; write {scheme}://bucket/prefix"));
    }
    if !prefix.is_empty() {
        check_prefix(&prefix).map_err(|error| error.to_string())?;
    }
    let endpoint = parameters
        .remove("endpoint")
        .map(|endpoint| if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") });
    if endpoint.is_none() && (scheme == "bos" || matches!(service, Service::Oss | Service::Cos | Service::Obs)) {
        return Err(format!("{scheme} needs the region's endpoint: add ?endpoint=https://…"));
    }
    let (mut region, mut path_style, mut account) = (None, None, None);
    let mut checksum = scheme != "bos";
    if service == Service::S3 {
        region = parameters.remove("region");
        path_style = match parameters.remove("pathStyle").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(format!("pathStyle is {other:?}; it must be true or false")),
        };
        match parameters.remove("checksum").as_deref() {
            None => {}
            Some("crc32c") => checksum = true,
            Some("none") => checksum = false,
            Some(other) => return Err(format!("checksum is {other:?}; it must be crc32c or none")),
        }
        if scheme == "bos" {
            path_style = path_style.or(Some(false));
        }
    }
    if service == Service::Azblob {
        account = parameters.remove("account");
        if account.is_none() && endpoint.is_none() {
            return Err("az needs ?account=… or ?endpoint=…".to_owned());
        }
    }
    Ok(Bucket { service, name: name.to_owned(), prefix, region, endpoint, path_style, checksum, account })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_their_place() {
        let parse = |url: &str| StoreUrl::parse(url).unwrap().place;
        assert_eq!(parse("memory://"), Place::Memory);
        assert_eq!(parse("file:///var/a%20b"), Place::Directory("/var/a b".into()));
        assert_eq!(parse("file:data"), Place::Directory("data".into()));
        let Place::Bucket(bucket) = parse("s3://b/p/q/?region=eu-1&endpoint=http://127.0.0.1:9&pathStyle=true") else {
            panic!("not a bucket")
        };
        assert_eq!((bucket.service, bucket.name.as_str(), bucket.prefix.as_str()), (Service::S3, "b", "p/q"));
        assert_eq!(bucket.endpoint.as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!((bucket.region.as_deref(), bucket.path_style), (Some("eu-1"), Some(true)));
        assert!(bucket.checksum);
        let Place::Bucket(bucket) = parse("s3://b?checksum=none") else { panic!("not a bucket") };
        assert!(!bucket.checksum);
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (url, part) in [
            ("/data", "no scheme"),
            ("ftp://x", "is not one of"),
            ("s3://", "names no bucket"),
            ("s3://b?reigon=x", "\"reigon\""),
            ("s3://b/../x", "start with a dot"),
            ("obs://b", "endpoint"),
            ("az://c", "account"),
            ("s3://b?pathStyle=yes", "true or false"),
            ("s3://b?checksum=md5", "crc32c or none"),
            ("file://", "no directory"),
            ("file:///a%2", "hex digits"),
        ] {
            let error = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}
