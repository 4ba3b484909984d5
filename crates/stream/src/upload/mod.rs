//! The uploader: cuts become objects, objects become commits, commits let the WAL be trimmed.
//!
//! Uploads of several cuts overlap; their commits are first in, first out, so that the WAL position of a commit covers
//! everything below it (I-4). Upload first, commit second (I-5): the names of objects that no commit names yet are leased
//! ([`lease`]) from the [`committer`], which keeps the `upload_floor` of every commit at or below them.
//!
//! Failures: a store that does not answer is asked again for ever (the log cache fills, producers wait, nobody fails);
//! a lost commit reply is answered by repeating the same commit, which the catalogue knows by its content; a commit
//! refused because this registration was fenced stops the engine.

pub(crate) mod build;
mod committer;
mod lease;

use std::sync::{Arc, Weak};
use std::time::Duration;

use base::memory::Charge;
use base::{ObjectId, OffsetRange, StreamId};
use blob::Purpose;
use futures::stream::FuturesOrdered;
use futures::{StreamExt, TryStreamExt};

use crate::catalogue::{Catalogue, NewCheckpoint, NewObject, NewRange};
use crate::engine::Inner;
use crate::engine::cut::{Cut, CutStream};
use crate::engine::log::Bell;
use crate::engine::stream::LOCKED_ENTRIES_MAX;
use crate::format::BuiltObject;
use build::{UploadEntry, UploadStream};
use committer::Uploaded;
use lease::Lease;

pub(crate) use committer::Committer;

/// First and longest pause before an upload or a commit is tried again.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Objects of one cut that are put at once.
const PUTS_MAX: usize = 4;

/// A cut in the store.
struct StoredCut {
    engine: Arc<Inner>,
    cut: Cut,
    uploaded: Uploaded,
}

/// Runs until the engine is dropped or fails.
pub(crate) async fn run(engine: Weak<Inner>, mut bell: Bell) {
    let mut uploads = FuturesOrdered::new();
    loop {
        while let Some(cut) = next_cut(&engine, uploads.len()) {
            uploads.push_back(base::task::spawn_vital("upload", cut));
        }
        base::select! {
            rung = bell.recv() => if rung.is_none() { return },
            Some(stored) = uploads.next() => {
                let outcome = match stored {
                    Ok(Ok(stored)) => commit_cut(stored).await,
                    Ok(Err(why)) => Err(why),
                    Err(ended) => Err(ended.to_string().into()),
                };
                if let Err(why) = outcome {
                    if let Some(engine) = engine.upgrade() {
                        engine.fail(why);
                    }
                    return;
                }
            }
        }
    }
}

/// The upload of the next cut, if one is due and there is a place for it beside those that are `under_way`.
fn next_cut(
    engine: &Weak<Inner>,
    under_way: usize,
) -> Option<impl Future<Output = Result<StoredCut, Arc<str>>> + use<>> {
    let engine = engine.upgrade().filter(|e| under_way < e.options.uploads_max.max(1))?;
    // What is under way will give room back; only then is more made from little.
    let gathered = engine.log.take_cut(under_way == 0 && engine.cache.is_wanted())?;
    let cut = gathered.resolve(&engine.catalogue.view(), &engine.options);
    for stream in &cut.owed {
        engine.log.mark(stream);
    }
    Some(upload(engine, cut))
}

async fn upload(engine: Arc<Inner>, mut cut: Cut) -> Result<StoredCut, Arc<str>> {
    let builder = engine.clone();
    let built = base::task::spawn_blocking("upload-build", move || {
        let (objects, charge) = build_cut(&builder, &mut cut);
        (cut, objects, charge)
    });
    // The checkpoints are charged as long as they are in memory.
    let (cut, objects, _charge) = built.await.map_err(|error| error.to_string())?;
    let lease = engine.committer.lease(objects.len());
    let uploaded = put_all(&engine, lease, objects).await?;
    Ok(StoredCut { engine, cut, uploaded })
}

fn build_cut(engine: &Inner, cut: &mut Cut) -> (Vec<BuiltObject>, Charge) {
    let mut charge = engine.cache.charge_existing(0);
    let mut streams = Vec::with_capacity(cut.streams.len());
    for part in &mut cut.streams {
        let Some(entries) = entries_of(part) else { continue };
        let checkpoint = part.checkpoint.take().map(|state| {
            let bytes = state.encode();
            charge.merge(engine.cache.charge_existing(bytes.len() as u64));
            (part.range.end, bytes)
        });
        streams.push(UploadStream { stream: part.stream.id, epoch: part.stream.epoch, entries, checkpoint });
    }
    let objects =
        build::objects(streams, engine.writer, engine.options.block_bytes, engine.options.stream_object_bytes);
    (objects, charge)
}

/// The entries of a part; `None` when the stream was deleted since the cut.
fn entries_of(part: &CutStream) -> Option<Vec<UploadEntry>> {
    let mut entries: Vec<UploadEntry> = Vec::new();
    let mut left = part.range;
    while !left.is_empty() {
        // Appends of the stream are not held up for longer than a piece takes.
        entries.reserve(LOCKED_ENTRIES_MAX);
        part.stream.tail.lock().cut_entries(left, LOCKED_ENTRIES_MAX, |range, max_timestamp, payload| {
            entries.push(UploadEntry { range, max_timestamp, payload: payload.clone() });
        });
        let end = entries.last().map(|entry| entry.range.end).filter(|&end| end > left.start)?;
        left = OffsetRange::new(end, left.end);
    }
    Some(entries)
}

/// Puts every object, as often as it takes; answers what the commit will say of them, or why the engine has failed
/// meanwhile: a part of them must not be committed.
pub(crate) async fn put_all(engine: &Inner, lease: Lease, objects: Vec<BuiltObject>) -> Result<Uploaded, Arc<str>> {
    let puts = lease.ids().zip(objects).map(|(id, object)| put(engine, id, object));
    let objects = futures::stream::iter(puts).buffered(PUTS_MAX).try_collect().await?;
    Ok(Uploaded { lease, objects })
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

/// Whether all of what was handed to a commit that stands is part of its streams, or its stream was deleted. Asked before
/// anything of it leaves the log: a commit skips what its sender does not own, and whatever did not get into its objects.
pub(crate) fn check_taken(
    view: &Catalogue,
    ranges: impl IntoIterator<Item = (StreamId, OffsetRange)>,
) -> Result<(), Arc<str>> {
    for (stream, range) in ranges {
        if let Some(state) = view.stream(stream).filter(|state| state.end < range.end) {
            let end = state.end;
            return Err(format!(
                "the commit of stream {stream}, {range}, left it at {end}: what is missing stays in the write-ahead log"
            )
            .into());
        }
    }
    Ok(())
}

async fn commit_cut(stored: StoredCut) -> Result<(), Arc<str>> {
    let StoredCut { engine, cut: Cut { streams, position, waiters, owed: _ }, uploaded } = stored;
    if engine.has_failed() {
        return Err("the engine has failed".into());
    }
    let committed = engine.catalogue.view().incarnation(engine.writer).map_or(position, |log| log.committed);
    // A cut without data (its streams are deleted) moves the log's end too, or a log full of such data would never empty.
    if !streams.is_empty() || position > committed {
        engine.committer.commit(engine.writer, position, uploaded).await?;
        check_taken(&engine.catalogue.view(), streams.iter().map(|part| (part.stream.id, part.range)))?;
        engine.cache.committed(&streams);
        engine.log.trim(position);
    }
    for waiter in waiters {
        // A waiter that has gone does not matter.
        let _ = waiter.send(());
    }
    Ok(())
}
