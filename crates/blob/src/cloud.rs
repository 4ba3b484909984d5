//! Cloud stores through OpenDAL, which is known here and in [`crate::answer`] only. One attempt per call and no retry layer: a
//! retried conditional PUT takes its own first attempt for another writer's.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use opendal::services::{Azblob, Cos, Gcs, Obs, Oss, S3};
use opendal::{
    Buffer, EntryMode, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, Metadata, OperationContext, Operator,
};
use opendal_http_transport_reqwest::ReqwestTransport;

use crate::answer::{Ours, Tags, Theirs};
use crate::backend::{Backend, BoxFuture, CreateAttempt, Evidence, ListPage, MultipartPlan, ObjectMeta, ReadRange};
use crate::error::{OpenError, StoreError};
use crate::payload::Payload;
use crate::url::{Bucket, Service};

/// Longest part of a store's error text that is kept.
const REASON_CHARS_MAX: usize = 600;

/// A bucket of a cloud.
pub struct CloudBackend {
    name: String,
    bucket: String,
    operator: Operator,
    /// Whether a CRC-32C goes with every write.
    sends_checksums: bool,
    /// Whether the store was seen to compare it.
    compares_checksums: AtomicBool,
    /// Which entity tags of the store were hashes of the bytes.
    tags: Tags,
}

impl fmt::Debug for CloudBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudBackend").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CloudBackend {
    pub(crate) fn open(url: &str, bucket: &Bucket) -> Result<Self, OpenError> {
        install_transport().map_err(|reason| OpenError::Configuration { url: url.to_owned(), reason })?;
        let operator = build(bucket).map_err(|error| {
            let mut reason = error.message().to_owned();
            if bucket.service == Service::S3 && bucket.region.is_none() && reason.contains("region") {
                reason.push_str("; add ?region=… to the store URL or set AWS_REGION");
            }
            OpenError::Configuration { url: url.to_owned(), reason }
        })?;
        let sends_checksums = bucket.service == Service::S3 && bucket.checksum;
        let (compares_checksums, tags) = (AtomicBool::new(false), Tags::default());
        let bucket = bucket.name.clone();
        Ok(Self { name: url.to_owned(), bucket, operator, sends_checksums, compares_checksums, tags })
    }

    fn sort(&self, operation: &'static str, key: &str, error: &Error) -> StoreError {
        sort(&self.bucket, operation, key, error)
    }

    /// What shows that a write, in parts of `part_bytes` or in one, arrived as it was sent.
    async fn evidence(
        &self,
        key: &str,
        body: Payload,
        part_bytes: Option<usize>,
        answer: &Metadata,
    ) -> Result<Evidence, StoreError> {
        if self.compares_checksums.load(Ordering::Relaxed) {
            // Each part was compared, but nothing tells how the store put them together.
            return Ok(if part_bytes.is_some() { Evidence::None } else { Evidence::Hash });
        }
        let Some(theirs) = Theirs::of(answer) else { return Ok(Evidence::None) };
        let ours = Ours::of(body, part_bytes).await.map_err(|reason| StoreError::Failed {
            operation: "put",
            key: key.to_owned(),
            reason,
        })?;
        self.tags.compare(key, &theirs, &ours, part_bytes.is_some())
    }
}

/// A way to the store on which the body of a write loses its first bit, after its checksum was taken.
struct Damaging;

impl HttpTransport for Damaging {
    async fn fetch(&self, mut request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        if request.method() == http::Method::PUT {
            let mut body = BytesMut::from(&request.body().to_bytes()[..]);
            if let Some(first) = body.first_mut() {
                *first ^= 1;
            }
            *request.body_mut() = Buffer::from(body.freeze());
        }
        HttpTransporter::default().fetch(request).await
    }
}

/// What carries the requests of all stores of the process, by HTTP/1.1 and TLS with the one back end that is built: ring.
/// Whom it trusts is the machine's list of authorities, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
fn install_transport() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let install = || {
        // Whoever linked this crate may have chosen another: that one serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().build().map_err(|error| {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            format!(
                "no client for it can be made ({}); if this machine has no list of certificate authorities, install \
                 ca-certificates or name a file of them in SSL_CERT_FILE",
                causes.join(": ")
            )
        })?;
        HttpTransporter::install_default(ReqwestTransport::new(client));
        Ok(())
    };
    INSTALLED.get_or_init(install).clone()
}

/// Settings that a URL leaves out (above all credentials) come from where the cloud's own tools look for them.
fn build(bucket: &Bucket) -> Result<Operator, Error> {
    let container = if bucket.service == Service::Azblob { "container" } else { "bucket" };
    let mut settings =
        vec![(container.to_owned(), bucket.name.clone()), ("root".to_owned(), format!("/{}", bucket.prefix))];
    let mut set = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            settings.push((name.to_owned(), value.clone()));
        }
    };
    set("endpoint", bucket.endpoint.as_ref());
    set("account_name", bucket.account.as_ref());
    if bucket.service == Service::S3 {
        // A store that only speaks S3's protocol rarely cares about the region, but the signature needs one.
        let any_region = "us-east-1".to_owned();
        set("region", bucket.region.as_ref().or(bucket.endpoint.is_some().then_some(&any_region)));
        let path_style = bucket.path_style.unwrap_or(bucket.endpoint.is_some());
        set("enable_virtual_host_style", Some(&(!path_style).to_string()));
        set("checksum_algorithm", bucket.checksum.then_some(&"crc32c".to_owned()));
    }
    match bucket.service {
        Service::S3 => Operator::from_iter::<S3>(settings),
        Service::Gcs => Operator::from_iter::<Gcs>(settings),
        Service::Azblob => Operator::from_iter::<Azblob>(settings),
        Service::Oss => Operator::from_iter::<Oss>(settings),
        Service::Cos => Operator::from_iter::<Cos>(settings),
        Service::Obs => Operator::from_iter::<Obs>(settings),
    }
}

fn buffer(body: Payload) -> Buffer {
    Buffer::from(body.into_parts())
}

/// What the store or the network said, in its own words first: `NoSuchBucket: The specified bucket does not exist (HTTP
/// 404)`. The client library tells where in its code it was, and last what it was told.
fn words(error: &Error) -> String {
    let message = error.message();
    let mut said = match (quoted(message, "code: \""), quoted(message, "message: \"")) {
        (Some(code), Some(text)) if code != text => format!("{code}: {text}"),
        (Some(code), _) => code.to_owned(),
        _ => {
            let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
            while let Some(deeper) = cause.and_then(std::error::Error::source) {
                cause = Some(deeper);
            }
            match cause {
                Some(cause) => format!("{cause} ({message})"),
                None if message.is_empty() => error.kind().to_string(),
                None => message.to_owned(),
            }
        }
    };
    if said.chars().count() > REASON_CHARS_MAX {
        said = said.chars().take(REASON_CHARS_MAX).collect();
    }
    // Told only among what is printed.
    let text = error.to_string();
    let status: String =
        text.split("status: ").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    if status.is_empty() { said } else { format!("{said} (HTTP {status})") }
}

/// What stands in quotes after `name`, unless it is empty.
fn quoted<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.split_once(name)?.1;
    let mut escaped = false;
    let end = rest.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    rest.get(..end?).filter(|quoted| !quoted.is_empty())
}

/// Sorts an answer by what the caller must do.
fn sort(bucket: &str, operation: &'static str, key: &str, error: &Error) -> StoreError {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let reason = words(error);
    let key = key.to_owned();
    if says(&["NoSuchBucket", "InvalidBucketName", "bucket does not exist", "ContainerNotFound"]) {
        return StoreError::NoSuchBucket { reason: format!("{reason}, bucket {bucket}") };
    }
    if says(&["QuotaExceeded", "XMinioStorageFull", "status: 507"]) {
        return StoreError::Full { key, reason };
    }
    // The store compared what came with a checksum that went along, or waited for more of it.
    if says(&["BadDigest", "ContentChecksumMismatch", "ContentSHA256Mismatch", "Md5Mismatch", "IncompleteBody"]) {
        return StoreError::Damaged { key, reason };
    }
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound { key },
        ErrorKind::PermissionDenied => StoreError::AccessDenied { operation, key, reason },
        ErrorKind::Unsupported => StoreError::Unsupported { operation, reason },
        ErrorKind::RateLimited => StoreError::Unavailable { operation, key, reason },
        _ if error.is_temporary() => StoreError::Unavailable { operation, key, reason },
        _ if says(&["credential", "status: 401"]) => StoreError::AccessDenied { operation, key, reason },
        // What a store says that speaks S3's protocol and does not know a header.
        _ if says(&["NotImplemented", "nsupported header"]) => {
            let hint = "if the store knows no CRC-32C, add checksum=none to its URL";
            StoreError::Failed { operation, key, reason: format!("{reason}; {hint}") }
        }
        _ => StoreError::Failed { operation, key, reason },
    }
}

/// How much came, as OpenDAL's text says it; for messages only.
fn actual_bytes(text: &str) -> u64 {
    let digits = text.split("actual: ").nth(1).unwrap_or_default();
    digits.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Backend for CloudBackend {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn lacks_create(&self) -> Option<String> {
        let offered = self.operator.info().capability().write_with_if_not_exists;
        (!offered).then(|| format!("there is no put-if-absent for service {}", self.operator.info().scheme()))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<Evidence, StoreError>> {
        Box::pin(async move {
            let answer = self.operator.write(key, buffer(body.clone())).await;
            let answer = answer.map_err(|error| self.sort("put", key, &error))?;
            self.evidence(key, body, None, &answer).await
        })
    }

    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<(u64, Evidence), StoreError>> {
        Box::pin(async move {
            let fail = |error: Error| self.sort("multipart", key, &error);
            let parts = body.chunks(plan.part_bytes);
            // Initiate and complete are requests too.
            let requests = parts.len() as u64 + 2;
            let mut writer = self
                .operator
                .writer_with(key)
                .chunk(plan.part_bytes)
                .concurrent(plan.concurrency)
                .await
                .map_err(fail)?;
            let written = async {
                for part in parts {
                    writer.write(buffer(part)).await?;
                }
                writer.close().await
            };
            let answer = match written.await {
                Ok(answer) => answer,
                Err(error) => {
                    // Best effort: parts that stay behind are removed by the bucket's lifecycle rule.
                    if let Err(error) = writer.abort().await {
                        tracing::debug!(key, %error, "a failed multipart write could not be aborted");
                    }
                    return Err(fail(error));
                }
            };
            Ok((requests, self.evidence(key, body, Some(plan.part_bytes), &answer).await?))
        })
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateAttempt> {
        Box::pin(async move {
            let answer = self.operator.write_with(key, buffer(body.clone())).if_not_exists(true).await;
            match answer {
                Ok(answer) => match self.evidence(key, body, None, &answer).await {
                    Ok(evidence) => CreateAttempt::Created(evidence),
                    Err(cause) => CreateAttempt::Unknown(cause),
                },
                Err(error) => match error.kind() {
                    ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists => CreateAttempt::Exists,
                    // S3's 409: another conditional write is under way. Neither made nor lost: the same bytes again.
                    ErrorKind::Conflict => CreateAttempt::Unknown(StoreError::Unavailable {
                        operation: "create",
                        key: key.to_owned(),
                        reason: words(&error),
                    }),
                    _ => CreateAttempt::Unknown(self.sort("create", key, &error)),
                },
            }
        })
    }

    fn test_checksums<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if !self.sends_checksums {
                return Ok(false);
            }
            let damaging = OperationContext::new().with_http_transport(HttpTransporter::new(Damaging));
            let damaged = self.operator.clone().with_context(damaging);
            let compares = match damaged.write(key, &b"headwater probe of checksums"[..]).await {
                Ok(_) => false,
                Err(error) => match self.sort("put", key, &error) {
                    StoreError::Damaged { .. } => true,
                    // It may have refused for another reason.
                    StoreError::Failed { .. } => false,
                    error => return Err(error),
                },
            };
            self.compares_checksums.store(compares, Ordering::Relaxed);
            Ok(compares)
        })
    }

    fn get<'a>(&'a self, key: &'a str, range: ReadRange) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let read = match &range {
                ReadRange::Whole => self.operator.read(key).await,
                ReadRange::Bytes(range) => self.operator.read_with(key).range(range.clone()).await,
            };
            match (read, range) {
                (Ok(bytes), _) => Ok(bytes.to_bytes()),
                (Err(error), ReadRange::Bytes(range)) if error.kind() == ErrorKind::RangeNotSatisfied => {
                    Err(StoreError::ShortRead { key: key.to_owned(), range, got: 0 })
                }
                // The object ends inside the range; OpenDAL has compared what came with what was asked for.
                (Err(error), ReadRange::Bytes(range)) if error.message().contains("got too little data") => {
                    Err(StoreError::ShortRead { key: key.to_owned(), range, got: actual_bytes(&error.to_string()) })
                }
                (Err(error), _) => Err(self.sort("get", key, &error)),
            }
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        Box::pin(async move {
            let metadata = self.operator.stat(key).await.map_err(|error| self.sort("head", key, &error))?;
            Ok(ObjectMeta { key: key.to_owned(), len: metadata.content_length() })
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move {
            let fail = |error: Error| self.sort("list", prefix, &error);
            let mut lister = self.operator.lister_with(prefix).recursive(true).limit(limit);
            if let Some(after) = start_after
                && self.operator.info().capability().list_with_start_after
            {
                lister = lister.start_after(after);
            }
            let mut entries = lister.await.map_err(fail)?;
            let mut page = ListPage::default();
            while page.objects.len() < limit {
                let Some(entry) = entries.try_next().await.map_err(fail)? else { return Ok(page) };
                // Without native support what lies before is skipped here.
                let wanted = start_after.is_none_or(|after| entry.path() > after);
                if wanted && entry.metadata().mode() == EntryMode::FILE {
                    page.objects
                        .push(ObjectMeta { key: entry.path().to_owned(), len: entry.metadata().content_length() });
                }
            }
            page.more = true;
            Ok(page)
        })
    }

    fn delete_batch<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let first = keys.first().map_or("", String::as_str);
            self.operator.delete_iter(keys.to_vec()).await.map_err(|error| match self.sort("delete", first, &error) {
                // Names that do not exist are no error.
                StoreError::NotFound { .. } => StoreError::NoSuchBucket { reason: words(&error) },
                other => other,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_begins_with_what_the_store_said() {
        let answer = Error::new(
            ErrorKind::ConfigInvalid,
            "S3Error { code: \"NoSuchBucket\", message: \"No bucket \\\"b\\\"\", resource: \"\", request_id: \"7\" }",
        )
        .with_context("response", "Parts { status: 404, version: HTTP/1.1 }");
        let error = sort("b", "put", "a", &answer).to_string();
        assert!(error.starts_with("NoSuchBucket: No bucket \\\"b\\\" (HTTP 404), bucket b: "), "{error}");

        let refused = std::io::Error::other("connection refused");
        let network = Error::new(ErrorKind::Unexpected, "send http request").set_source(refused).set_temporary();
        let error = sort("b", "put", "a", &network).to_string();
        assert!(error.starts_with("connection refused (send http request) (put a): "), "{error}");

        let nothing = Error::new(ErrorKind::PermissionDenied, "");
        assert!(sort("b", "head", "a", &nothing).to_string().starts_with("PermissionDenied (head a): "));
    }
}
