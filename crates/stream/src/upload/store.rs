//! How a cut comes to stand in the store: what the kind of its log says ([`Cuts`]).

use std::sync::Arc;

use base::memory::Charge;
use base::{ObjectId, OffsetRange};
use blob::Purpose;
use futures::{StreamExt, TryStreamExt};

use super::build::{self, UploadEntry, UploadStream};
use super::committer::Uploaded;
use super::lease::Lease;
use super::{PUTS_MAX, RETRY_MAX, RETRY_MIN, StoredCut};
use crate::catalogue::{NewCheckpoint, NewObject, NewRange};
use crate::engine::Inner;
use crate::engine::cut::{Cut, CutStream};
use crate::engine::stream::LOCKED_ENTRIES_MAX;
use crate::format::BuiltObject;
use crate::wal::Cuts;

/// Makes a cut stand in objects that a commit can name, the way its log says. Another kind of log adds another arm: an
/// object log names the objects that it has put already.
pub(super) async fn cut(cuts: Cuts, engine: Arc<Inner>, cut: Cut) -> Result<StoredCut, Arc<str>> {
    match cuts {
        Cuts::BuildAndPut => build_and_put(engine, cut).await,
    }
}

async fn build_and_put(engine: Arc<Inner>, mut cut: Cut) -> Result<StoredCut, Arc<str>> {
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
    base::plant::place("in-upload-build");
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
