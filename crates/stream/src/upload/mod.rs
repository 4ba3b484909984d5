//! The uploader: cuts become objects, objects become commits, commits let the WAL be trimmed.
//!
//! Uploads of several cuts overlap; their commits are first in, first out, so that the WAL position of a commit covers
//! everything below it (I-4). Upload first, commit second (I-5): the names of objects that no commit names yet are leased
//! ([`lease`]) from the [`committer`], which keeps the `upload_floor` of every commit at or below them.
//!
//! How a cut comes to stand in the store is its log's affair ([`store`]); when one is taken, in which order cuts are
//! committed and what the log may forget is not.
//!
//! Failures: a store that does not answer is asked again for ever (the log cache fills, producers wait, nobody fails);
//! a lost commit reply is answered by repeating the same commit, which the catalogue knows by its content; a commit that
//! is refused, because this registration was fenced or because it would leave out some of the cut, stops the engine.

pub(crate) mod build;
mod committer;
mod lease;
mod store;

use std::sync::{Arc, Weak};
use std::time::Duration;

use base::WalPosition;
use futures::StreamExt;
use futures::stream::FuturesOrdered;

use crate::engine::Inner;
use crate::engine::bell::Bell;
use crate::engine::cut::{Cut, CutStream};

pub(crate) use committer::{Committer, Uploaded};
pub(crate) use store::put_all;

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
                    // Planted: a commit that is under way is dropped when another cut may be due.
                    Ok(Ok(stored)) if base::plant::bug("commit-in-callers-future") => base::select! {
                        outcome = commit_cut(stored) => outcome,
                        _ = bell.recv() => Ok(()),
                    },
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
    Some(store::cut(engine.log.cuts(), engine, cut))
}

async fn commit_cut(stored: StoredCut) -> Result<(), Arc<str>> {
    let StoredCut { engine, cut: Cut { streams, position, waiters, owed: _ }, uploaded } = stored;
    base::plant::place("after-put");
    if let Err(why) = make_part(&engine, streams, position, uploaded).await {
        // First, so that a waiter whose end is dropped hears this.
        engine.fail(why.clone());
        return Err(why);
    }
    for waiter in waiters {
        // A waiter that has gone does not matter.
        let _ = waiter.send(());
    }
    Ok(())
}

/// Commits a cut and, once it stands, lets go of what it holds.
async fn make_part(
    engine: &Inner,
    streams: Vec<CutStream>,
    position: WalPosition,
    uploaded: Uploaded,
) -> Result<(), Arc<str>> {
    if engine.has_failed() {
        return Err("the engine has failed".into());
    }
    let committed = engine.catalogue.view().incarnation(engine.writer).map_or(position, |log| log.committed);
    // A cut without data (its streams are deleted) moves the log's end too, or a log full of such data would never empty.
    if !streams.is_empty() || position > committed {
        let covers = streams.iter().map(|part| (part.stream.id, part.range)).collect();
        if base::plant::bug("trim-before-commit") {
            // Planted: the log forgets what is in objects, though no commit names them.
            engine.log.trim(position);
        }
        engine.committer.commit(engine.writer, position, covers, uploaded).await?;
        base::plant::place("after-commit");
        engine.cache.committed(&streams);
        engine.log.trim(position);
    }
    Ok(())
}
