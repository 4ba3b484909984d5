//! The uploader: cuts become objects, objects become commits, commits let the WAL be trimmed.
//!
//! Uploads of several cuts overlap; their commits are first in, first out, so that the WAL position of a commit covers
//! everything below it (I-4). Upload first, commit second (I-5): an object that no commit names yet carries a sequence
//! at or above the `upload_floor` of every commit so far, and a commit that names one below the floor is refused.
//!
//! Failures: a store that does not answer is asked again for ever (the log cache fills, producers wait, nobody fails);
//! a lost commit reply is answered by repeating the same commit, which the catalogue knows by its sequence; a commit
//! refused because this registration was fenced stops the engine.

pub(crate) mod build;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use base::{Incarnation, ObjectId, WalPosition};
use blob::Purpose;
use futures::stream::FuturesOrdered;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::catalogue::{ClientError, CommitError, CommitRequest, NewCheckpoint, NewObject, NewRange};
use crate::engine::Inner;
use crate::engine::cut::Cut;
use crate::format::BuiltObject;
use build::{UploadEntry, UploadStream};

/// First and longest pause before an upload or a commit is tried again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Objects of one cut that are put at once.
const PUTS_MAX: usize = 4;

/// Runs until the engine is dropped or fails.
pub(crate) async fn run(engine: Weak<Inner>, mut cuts: mpsc::UnboundedReceiver<Cut>) {
    let mut uploads = FuturesOrdered::new();
    let uploads_max = engine.upgrade().map_or(1, |e| e.options.uploads_max.max(1));
    loop {
        tokio::select! {
            cut = cuts.recv(), if uploads.len() < uploads_max => {
                let (Some(cut), Some(engine)) = (cut, engine.upgrade()) else { return };
                // Sequences are taken here, in cut order, so that the floor rises with the commits.
                let objects = build_cut(&engine, &cut);
                let ids = engine.object_ids(objects.len());
                uploads.push_back(base::task::spawn_vital("upload", async move {
                    let objects = put_all(&engine, ids, objects).await;
                    (engine, cut, objects)
                }));
            }
            Some(done) = uploads.next() => {
                let Ok((engine, cut, objects)) = done else { return };
                let Ok(objects) = objects else { return };
                if engine.has_failed() || !commit_cut(&engine, cut, objects).await {
                    return;
                }
            }
        }
    }
}

fn build_cut(engine: &Inner, cut: &Cut) -> Vec<BuiltObject> {
    let mut streams = Vec::with_capacity(cut.streams.len());
    for part in &cut.streams {
        let mut entries = Vec::new();
        part.stream.tail.lock().cut_entries(part.range, |range, max_timestamp, payload| {
            entries.push(UploadEntry { range, max_timestamp, payload: payload.clone() });
        });
        if entries.is_empty() {
            continue; // deleted since the cut
        }
        let checkpoint = part.checkpoint.clone().map(|bytes| (part.range.end, bytes));
        streams.push(UploadStream { stream: part.stream.id, epoch: part.stream.epoch, entries, checkpoint });
    }
    build::objects(streams, engine.writer, engine.options.block_bytes, engine.options.stream_object_bytes)
}

/// Puts every object, as often as it takes; returns what the commit will say of them, or why the engine has failed
/// meanwhile: a part of them must not be committed.
pub(crate) async fn put_all(
    engine: &Inner,
    ids: Vec<ObjectId>,
    objects: Vec<BuiltObject>,
) -> Result<Vec<NewObject>, Arc<str>> {
    let puts = ids.into_iter().zip(objects).map(|(id, object)| put(engine, id, object));
    futures::stream::iter(puts).buffered(PUTS_MAX).try_collect().await
}

async fn put(engine: &Inner, id: ObjectId, object: BuiltObject) -> Result<NewObject, Arc<str>> {
    let mut pause = RETRY_MIN;
    // The same bytes under the same name: a repeated put changes nothing.
    while let Err(error) = engine.store.put(Purpose::Upload, &id.key(), object.payload.clone()).await {
        tracing::warn!(object = %id, %error, "upload failed and is tried again; producers slow down when the log cache is full");
        if engine.has_failed() {
            return Err("the engine has failed".into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
    Ok(describe(id, &object))
}

fn describe(id: ObjectId, object: &BuiltObject) -> NewObject {
    NewObject {
        sequence: id.sequence,
        kind: object.kind,
        length: object.length,
        crc: object.crc,
        ranges: object
            .extents
            .iter()
            .map(|e| NewRange {
                stream: e.stream,
                epoch: e.epoch,
                range: e.range,
                max_timestamp: e.max_timestamp,
                bytes: e.bytes,
            })
            .collect(),
        checkpoints: object
            .checkpoints
            .iter()
            .map(|&(stream, epoch, offset)| NewCheckpoint { stream, epoch, offset })
            .collect(),
    }
}

async fn commit_cut(engine: &Arc<Inner>, mut cut: Cut, objects: Vec<NewObject>) -> bool {
    let position = cut.position;
    let committed = engine.catalogue.view().incarnation(engine.writer).map_or(position, |log| log.committed);
    // A cut without data (its streams are deleted) moves the log's end too, or a log full of such data would never empty.
    if !cut.streams.is_empty() || position > committed {
        if let Err(why) = engine.commit(engine.writer, position, objects).await {
            engine.fail(why);
            return false;
        }
        engine.committed(&cut);
        engine.trim_wal(position);
    }
    for waiter in cut.waiters.drain(..) {
        // A waiter that has gone does not matter.
        let _ = waiter.send(());
    }
    true
}

impl Inner {
    /// Fresh object names.
    pub(crate) fn object_ids(&self, count: usize) -> Vec<ObjectId> {
        let first = self.next_object.fetch_add(count as u64, Ordering::AcqRel);
        (first..first + count as u64).map(|sequence| ObjectId { writer: self.writer, sequence }).collect()
    }

    /// Commits objects written by this registration with data of the log `log` up to `position`. Repeats a commit whose
    /// outcome is unknown; returns why it can never succeed.
    pub(crate) async fn commit(
        &self,
        log: Incarnation,
        position: WalPosition,
        objects: Vec<NewObject>,
    ) -> Result<(), Arc<str>> {
        // One commit at a time, so that commit sequences arrive in order.
        let mut next_commit = self.next_commit.lock().await;
        let floor = objects.iter().map(|o| o.sequence + 1).max();
        let upload_floor = floor.unwrap_or(0);
        let request = CommitRequest {
            writer: self.writer,
            commit_sequence: *next_commit,
            log,
            wal_position: position,
            upload_floor,
            objects,
        };
        let mut pause = RETRY_MIN;
        loop {
            match self.catalogue.commit(request.clone()).await {
                Ok(_) => {
                    *next_commit += 1;
                    return Ok(());
                }
                Err(error @ CommitError::Client(ClientError::Unavailable(_))) => {
                    tracing::warn!(%error, "a commit is tried again");
                    if self.has_failed() {
                        return Err("the engine has failed".into());
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => return Err(error.to_string().into()),
            }
        }
    }
}
