//! Cloud stores through OpenDAL, which is not known outside this file. One attempt per call and no retry layer: a
//! retried conditional PUT takes its own first attempt for another writer's.

use std::fmt;

use bytes::Bytes;
use futures::TryStreamExt;
use opendal::services::{Azblob, Cos, Gcs, Obs, Oss, S3};
use opendal::{Buffer, EntryMode, Error, ErrorKind, Operator};

use crate::backend::{Backend, BoxFuture, ListPage, MultipartPlan, ObjectMeta, ReadRange};
use crate::error::{CreateOutcome, OpenError, StoreError};
use crate::payload::Payload;
use crate::url::{Bucket, Service};

/// Longest part of a store's error text that is kept.
const REASON_CHARS_MAX: usize = 600;

/// A bucket of a cloud.
pub struct CloudBackend {
    name: String,
    operator: Operator,
}

impl fmt::Debug for CloudBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudBackend").field("name", &self.name).finish_non_exhaustive()
    }
}

impl CloudBackend {
    pub(crate) fn open(url: &str, bucket: &Bucket) -> Result<Self, OpenError> {
        // Without it the first request fails; a second call changes nothing.
        opendal::install_default();
        let operator = build(bucket).map_err(|error| {
            let mut reason = error.message().to_owned();
            if bucket.service == Service::S3 && bucket.region.is_none() && reason.contains("region") {
                reason.push_str("; add ?region=… to the store URL or set AWS_REGION");
            }
            OpenError::Configuration { url: url.to_owned(), reason }
        })?;
        Ok(Self { name: url.to_owned(), operator })
    }
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

/// Sorts an answer by what the caller must do.
fn sort(operation: &'static str, key: &str, error: &Error) -> StoreError {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let reason: String = text.chars().take(REASON_CHARS_MAX).collect();
    let key = key.to_owned();
    if says(&["NoSuchBucket", "bucket does not exist", "ContainerNotFound"]) {
        return StoreError::NoSuchBucket { reason };
    }
    if says(&["QuotaExceeded", "XMinioStorageFull", "status: 507"]) {
        return StoreError::Full { key, reason };
    }
    match error.kind() {
        ErrorKind::NotFound => StoreError::NotFound { key },
        ErrorKind::PermissionDenied => StoreError::AccessDenied { operation, key, reason },
        ErrorKind::Unsupported => StoreError::Unsupported { operation, reason },
        ErrorKind::RateLimited => StoreError::Unavailable { operation, key, reason },
        _ if error.is_temporary() => StoreError::Unavailable { operation, key, reason },
        _ if says(&["credential", "status: 401"]) => StoreError::AccessDenied { operation, key, reason },
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

    fn put<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.operator.write(key, buffer(body)).await.map(drop).map_err(|error| sort("put", key, &error))
        })
    }

    fn put_multipart<'a>(
        &'a self,
        key: &'a str,
        body: Payload,
        plan: MultipartPlan,
    ) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let fail = |error: Error| sort("multipart", key, &error);
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
            if let Err(error) = written.await {
                // Best effort: parts that stay behind are removed by the bucket's lifecycle rule.
                if let Err(error) = writer.abort().await {
                    tracing::debug!(key, %error, "a failed multipart write could not be aborted");
                }
                return Err(fail(error));
            }
            Ok(requests)
        })
    }

    fn create<'a>(&'a self, key: &'a str, body: Payload) -> BoxFuture<'a, CreateOutcome> {
        Box::pin(async move {
            match self.operator.write_with(key, buffer(body)).if_not_exists(true).await {
                Ok(_) => CreateOutcome::Created,
                Err(error) => match error.kind() {
                    ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists => CreateOutcome::Exists,
                    // S3's 409: another conditional write is under way. Neither made nor lost: the same bytes again.
                    ErrorKind::Conflict => CreateOutcome::Unknown(StoreError::Unavailable {
                        operation: "create",
                        key: key.to_owned(),
                        reason: error.message().chars().take(REASON_CHARS_MAX).collect(),
                    }),
                    _ => CreateOutcome::Unknown(sort("create", key, &error)),
                },
            }
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
                (Err(error), _) => Err(sort("get", key, &error)),
            }
        })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta, StoreError>> {
        Box::pin(async move {
            let metadata = self.operator.stat(key).await.map_err(|error| sort("head", key, &error))?;
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
            let fail = |error: Error| sort("list", prefix, &error);
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
            self.operator.delete_iter(keys.to_vec()).await.map_err(|error| match sort("delete", first, &error) {
                // Names that do not exist are no error.
                StoreError::NotFound { .. } => StoreError::NoSuchBucket { reason: error.to_string() },
                other => other,
            })
        })
    }
}
