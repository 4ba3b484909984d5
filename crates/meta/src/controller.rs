//! The controller in office: one task that decides, writes one entry at a time, and answers.
//!
//! ```text
//! operations ──► decide on the speculative image ──► one entry (≤ 8 MiB, one PUT in flight) ──► publish, answer all
//! ```
//!
//! While a PUT is in flight operations queue up and share the next one. When a create is lost, another process has
//! claimed the office: the speculative image is dropped together with every waiting answer, and nothing follows. What
//! arrives damaged is written again behind a claim that calls its name void ([`crate::office`]).

use std::sync::Arc;

use arc_swap::ArcSwap;
use base::{Clock, MetaSequence, TimestampMs};
use tokio::sync::{mpsc, watch};
use wire::meta::MetadataRecord;

use crate::control::Answered;
use crate::deleter;
use crate::error::{LogLost, MetaError, Unfit};
use crate::format::{ENTRY_BYTES_MAX, EncodedRecords, HEADER_BYTES};
use crate::housekeeping::Housekeeper;
use crate::image::Image;
use crate::log::{BACKOFF_MAX, BACKOFF_MIN, Log};
use crate::office::{self, Batched, Written};

/// Operations that wait for the next entry; more make their callers wait.
pub(crate) const OPERATIONS_QUEUED_MAX: usize = 4096;

/// Answers an operation once its entry stands, or says why it does not.
pub(crate) type Answer = Box<dyn FnOnce(Answered<Result<(), MetaError>>) + Send>;
/// Decides an operation on the image as it will be when its entry is written.
pub(crate) type Decide = Box<dyn FnOnce(&Image, TimestampMs) -> (Vec<MetadataRecord>, Answer) + Send>;

/// What handles and the controller's task share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) image: ArcSwap<Image>,
    pub(crate) changes: watch::Sender<MetaSequence>,
    pub(crate) lost: watch::Sender<Option<LogLost>>,
    pub(crate) clock: Clock,
}

pub(crate) struct Controller {
    pub(crate) log: Log,
    pub(crate) shared: Arc<Shared>,
    pub(crate) operations: mpsc::Receiver<Decide>,
    pub(crate) housekeeper: Housekeeper,
}

struct Batch {
    image: Image,
    records: EncodedRecords,
    answers: Vec<Answer>,
}

impl Batch {
    fn on(image: &Image) -> Self {
        Self { image: image.clone(), records: EncodedRecords::default(), answers: Vec::new() }
    }

    /// Adds a decided operation; gives it back when the entry is full.
    fn add(&mut self, operation: Decided) -> Option<Decided> {
        if !self.answers.is_empty() && self.records.bytes.len() + operation.encoded.bytes.len() > RECORD_BYTES_MAX {
            return Some(operation);
        }
        self.image = operation.image;
        self.records.append(&operation.encoded);
        self.answers.push(operation.answer);
        None
    }
}

/// Answers all operations of a batch. `image` is published, so that each answer is true of it.
fn settle(answers: Vec<Answer>, image: &Image, outcome: &Result<(), MetaError>) {
    for answer in answers {
        answer(Answered { sequence: image.newest(), answer: outcome.clone() });
    }
}

/// Says why an operation was not written. `image` is the newest that is published.
fn refuse(answer: Answer, image: &Image, why: impl Into<MetaError>) {
    answer(Answered { sequence: image.newest(), answer: Err(why.into()) });
}

const RECORD_BYTES_MAX: usize = ENTRY_BYTES_MAX - HEADER_BYTES;

struct Decided {
    encoded: EncodedRecords,
    /// The image after it.
    image: Image,
    answer: Answer,
}

/// Decides one operation; an operation that cannot be written is answered at once and changes nothing.
fn decide(operation: Decide, on: &Image, published: &Image, now: TimestampMs) -> Option<Decided> {
    let (records, answer) = operation(on, now);
    match applied(&records, on) {
        Ok((encoded, image)) => Some(Decided { encoded, image, answer }),
        Err(error) => {
            refuse(answer, published, error);
            None
        }
    }
}

/// Records as an entry holds them, and the image after them.
fn applied(records: &[MetadataRecord], image: &Image) -> Result<(EncodedRecords, Image), MetaError> {
    let encoded = EncodedRecords::of(records).map_err(Unfit::because)?;
    if encoded.bytes.len() > RECORD_BYTES_MAX {
        return Err(MetaError::TooLarge { bytes: encoded.bytes.len(), limit: RECORD_BYTES_MAX });
    }
    let mut next = image.clone();
    for record in records {
        next.apply(record).map_err(Unfit::because)?;
    }
    Ok((encoded, next))
}

/// An operation that did not fit the entry before, on the image after that.
fn again(operation: Decided, image: &Image) -> Option<Decided> {
    let Decided { encoded, answer, image: _ } = operation;
    match office::replayed(image, &encoded) {
        Ok(image) => Some(Decided { encoded, image, answer }),
        Err(unfit) => {
            refuse(answer, image, unfit);
            None
        }
    }
}

impl Controller {
    /// Serves until every handle is gone or the office is lost.
    pub(crate) async fn run(mut self) {
        let mut carried: Option<Decided> = None;
        loop {
            let image = self.shared.image.load_full();
            let mut batch = Batch::on(&image);
            match carried.take() {
                Some(operation) => {
                    if let Some(decided) = again(operation, &image) {
                        drop(batch.add(decided));
                    }
                }
                None => match self.operations.recv().await {
                    Some(operation) => {
                        if let Some(decided) = decide(operation, &batch.image, &image, self.shared.clock.now()) {
                            drop(batch.add(decided));
                        }
                    }
                    None => return,
                },
            }
            while carried.is_none()
                && let Ok(operation) = self.operations.try_recv()
            {
                if let Some(decided) = decide(operation, &batch.image, &image, self.shared.clock.now()) {
                    carried = batch.add(decided);
                }
            }
            if batch.records.count == 0 {
                settle(batch.answers, &image, &Ok(()));
                continue;
            }
            let Err(error) = self.write(batch, image).await else { continue };
            let Some(lost) = error.log_lost() else { continue };
            tracing::error!(%error, "this process cannot write metadata any more and must exit");
            self.shared.lost.send_replace(Some(lost.clone()));
            // Whatever is left was decided by nobody: it certainly had no effect.
            let image = self.shared.image.load_full();
            if let Some(operation) = carried {
                refuse(operation.answer, &image, lost.clone());
            }
            self.operations.close();
            while let Some(operation) = self.operations.recv().await {
                let (_, answer) = operation(&image, self.shared.clock.now());
                refuse(answer, &image, lost.clone());
            }
            return;
        }
    }

    /// Writes a batch that was decided on `image`. Where it burns its name it is decided again, by the same records: a claim
    /// changes nothing that they depend on.
    async fn write(&mut self, batch: Batch, image: Arc<Image>) -> Result<(), MetaError> {
        let Batch { image: mut after, records, answers } = batch;
        if base::plant::bug("delete-before-grace") {
            // Planted: what the batch retires is deleted at once, and nobody knows whether the batch will stand.
            deleter::delete_early(&self.log.store, &image, &after).await;
        }
        let mut image = image;
        let mut wait = BACKOFF_MIN;
        let outcome = loop {
            let kept = base::plant::bug("lost-create-keeps-image").then(|| after.clone());
            match office::write(&self.log, &image, &records, after).await {
                Ok(Batched::Stands(written)) => {
                    base::plant::place("after-meta-create");
                    image = self.publish(written);
                    break Ok(());
                }
                Ok(Batched::Void(claimed)) => {
                    image = self.publish(claimed);
                    match office::replayed(&image, &records) {
                        Ok(again) => after = again,
                        Err(unfit) => break Err(unfit.into()),
                    }
                }
                Err(loss) => {
                    let Some(mut kept) = kept else { break Err(loss.into()) };
                    // Planted: what was decided is kept and told as done, whoever has the name.
                    kept.next_sequence = MetaSequence(kept.next_sequence.0 + 1);
                    image = self.publish(Written { image: kept, bytes: 0 });
                    break Ok(());
                }
            }
            // A way that damages these very bytes, and lets others pass, uses up two names each time.
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_MAX);
        };
        settle(answers, &image, &outcome);
        outcome
    }

    fn publish(&mut self, Written { image, bytes }: Written) -> Arc<Image> {
        let image = Arc::new(image);
        self.shared.image.store(image.clone());
        self.shared.changes.send_replace(image.newest());
        self.housekeeper.appended(bytes, &image);
        image
    }
}
