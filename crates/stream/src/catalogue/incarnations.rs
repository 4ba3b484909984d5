//! WAL incarnations: `Open → Fenced → Assigned → Recovered | Damaged | Abandoned`, and `Open → Recovered` by a drain.
//!
//! The order follows `models/blocklog.py` and `models/handover.py`: metadata fences and freezes the committed position
//! first, then names a taker, and only the latest taker's word about the incarnation counts. Each step repeats safely.

use std::borrow::Cow;

use base::{Incarnation, StreamId, WalPosition};
use thiserror::Error;
use wire::meta::{IncarnationRecord, MetadataRecord, RemoveIncarnationRecord};

use super::convert::raw;
use super::state::{IncarnationPhase, IncarnationState, WalPlace};
use super::{Catalogue, Decision};

/// Most streams that change owner in the batch that ends a recovery; the rest follows in batches of the same size.
pub(super) const ADOPT_STREAMS_MAX: usize = 50_000;

/// A WAL incarnation whose recovery or drain is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Streams opened for the taker in the same batch.
    pub opened: Vec<StreamId>,
    /// The incarnation owned more than fit into the batch: the same request again opens the next ones.
    pub more: bool,
}

/// Why nothing happened to a WAL incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IncarnationRejection {
    /// Metadata knows no such incarnation.
    #[error("WAL incarnation {0} is unknown")]
    Unknown(Incarnation),
    /// It is not in a phase that allows the step.
    #[error("WAL incarnation {incarnation} is {phase}, so it cannot be {step}")]
    WrongPhase {
        /// The incarnation.
        incarnation: Incarnation,
        /// Where it is in its life.
        phase: String,
        /// What was asked.
        step: Cow<'static, str>,
    },
    /// The sender is not the present registration of its broker, or was fenced.
    #[error("{0} is fenced: it is not the present registration of its broker")]
    Stale(Incarnation),
    /// The final position lies below what is committed.
    #[error("WAL incarnation {incarnation}: final position {final_position} lies below the committed {committed}")]
    BelowCommitted {
        /// The incarnation.
        incarnation: Incarnation,
        /// The position sent.
        final_position: WalPosition,
        /// The committed one.
        committed: WalPosition,
    },
}

/// The record that puts `id` into `phase`.
pub(super) fn record_of(id: Incarnation, state: &IncarnationState, phase: &IncarnationPhase) -> IncarnationRecord {
    let mut record = IncarnationRecord {
        broker_id: id.broker.0,
        broker_epoch: id.epoch.0,
        wal_kind: state.wal.kind,
        wal_location: (&*state.wal.location).into(),
        committed_position: raw(state.committed.0),
        ..Default::default()
    };
    record.state = match phase {
        IncarnationPhase::Open => 0,
        IncarnationPhase::Fenced => 1,
        IncarnationPhase::Assigned(taker) => {
            record.taker_id = taker.broker.0;
            record.taker_epoch = taker.epoch.0;
            2
        }
        IncarnationPhase::Recovered { final_position } => {
            record.final_position = raw(final_position.0);
            3
        }
        IncarnationPhase::Damaged { reason } => {
            record.reason = Some((&**reason).into());
            4
        }
        IncarnationPhase::Abandoned => 5,
    };
    record
}

type Step = Decision<Result<(), IncarnationRejection>>;

impl Catalogue {
    /// Whether what `former` left, its unfinished WAL and its streams, falls to the registration `taker`: its own
    /// broker's, and that of a broker which has left the cluster, so that nobody else comes for it. What another
    /// registered broker left is that broker's, until the controller assigns it incarnation by incarnation.
    pub fn falls_to(&self, former: Incarnation, taker: Incarnation) -> bool {
        former.broker == taker.broker || !self.writers.contains_key(&former.broker)
    }

    /// The incarnations that a new registration is given to recover: unfinished ones that fall to it, and that no other
    /// present registration is recovering already.
    pub fn takeovers(&self, taker: Incarnation) -> Vec<Incarnation> {
        let in_other_hands = |state: &IncarnationState| match &state.phase {
            IncarnationPhase::Assigned(present) => *present != taker && self.registered(*present).is_ok(),
            _ => false,
        };
        self.incarnations()
            .filter(|(id, state)| {
                *id != taker && state.phase.is_recoverable() && self.falls_to(*id, taker) && !in_other_hands(state)
            })
            .map(|(id, _)| id)
            .collect()
    }

    fn registered(&self, id: Incarnation) -> Result<(), IncarnationRejection> {
        let present = self.writers.get(&id.broker).is_some_and(|w| w.epoch == id.epoch && !w.fenced);
        if present { Ok(()) } else { Err(IncarnationRejection::Stale(id)) }
    }

    fn wrong(id: Incarnation, state: &IncarnationState, step: &'static str) -> IncarnationRejection {
        IncarnationRejection::WrongPhase { incarnation: id, phase: state.phase.to_string(), step: step.into() }
    }

    /// One step of an existing incarnation: `next` says where it leads, `None` for "is there already".
    fn step(
        &self,
        id: Incarnation,
        next: impl FnOnce(&IncarnationState) -> Result<Option<IncarnationPhase>, IncarnationRejection>,
    ) -> Step {
        let Some(state) = self.incarnation(id) else {
            return Decision::unchanged(Err(IncarnationRejection::Unknown(id)));
        };
        match next(state) {
            Ok(None) => Decision::unchanged(Ok(())),
            Ok(Some(phase)) => Decision { records: vec![record_of(id, state, &phase).into()], response: Ok(()) },
            Err(rejection) => Decision::unchanged(Err(rejection)),
        }
    }

    /// Records that the WAL of the registration `id` exists (its header and fence page are synced). Only then may it
    /// append.
    pub fn open_incarnation(&self, id: Incarnation, wal: WalPlace) -> Step {
        if let Err(stale) = self.registered(id) {
            return Decision::unchanged(Err(stale));
        }
        match self.incarnation(id) {
            Some(state) if state.phase == IncarnationPhase::Open && state.wal == wal => Decision::unchanged(Ok(())),
            Some(state) => Decision::unchanged(Err(Self::wrong(id, state, "opened again"))),
            None => {
                let state = IncarnationState { wal, phase: IncarnationPhase::Open, committed: WalPosition(0) };
                let record = record_of(id, &state, &IncarnationPhase::Open);
                Decision { records: vec![record.into()], response: Ok(()) }
            }
        }
    }

    /// Takes the owner's right to commit and freezes the committed position.
    pub fn fence_incarnation(&self, id: Incarnation) -> Step {
        self.step(id, |state| match state.phase {
            IncarnationPhase::Open => Ok(Some(IncarnationPhase::Fenced)),
            IncarnationPhase::Fenced => Ok(None),
            _ => Err(Self::wrong(id, state, "fenced")),
        })
    }

    /// Names the registration that recovers a fenced incarnation, in place of any named before.
    pub fn assign(&self, id: Incarnation, taker: Incarnation) -> Step {
        self.step(id, |state| {
            self.registered(taker)?;
            match &state.phase {
                IncarnationPhase::Assigned(present) if *present == taker => Ok(None),
                IncarnationPhase::Fenced | IncarnationPhase::Assigned(_) => Ok(Some(IncarnationPhase::Assigned(taker))),
                _ => Err(Self::wrong(id, state, "assigned")),
            }
        })
    }

    /// The taker has committed everything acknowledged. Its owner's streams are opened for the taker in the same batch.
    pub fn recovered(
        &self,
        id: Incarnation,
        taker: Incarnation,
        final_position: WalPosition,
    ) -> Decision<Result<Recovered, IncarnationRejection>> {
        let step = self.step(id, |state| {
            self.registered(taker)?;
            match &state.phase {
                IncarnationPhase::Assigned(present) if *present == taker => {
                    Self::at_least_committed(id, state, final_position)?;
                    Ok(Some(IncarnationPhase::Recovered { final_position }))
                }
                IncarnationPhase::Recovered { final_position: known } if *known == final_position => Ok(None),
                _ => Err(Self::wrong(id, state, "recovered by this broker")),
            }
        });
        self.with_adoption(step, id, taker)
    }

    /// Ends a step after which the streams of `id` are free, by opening them for `taker` in the same batch. No others:
    /// streams that wait for an owner elsewhere wait for one whom the controller names.
    fn with_adoption(
        &self,
        step: Step,
        id: Incarnation,
        taker: Incarnation,
    ) -> Decision<Result<Recovered, IncarnationRejection>> {
        let mut records = step.records;
        if let Err(rejection) = step.response {
            return Decision::unchanged(Err(rejection));
        }
        let mut next = self.clone();
        if records.iter().any(|record| next.apply(record).is_err()) {
            // A record made from the image a moment ago replays on it; without adoption the streams merely wait.
            return Decision { records, response: Ok(Recovered::default()) };
        }
        let adopted = next.adopt(taker, ADOPT_STREAMS_MAX, |owner| owner == id);
        records.extend(adopted.records);
        let more = adopted.response.len() == ADOPT_STREAMS_MAX;
        Decision { records, response: Ok(Recovered { opened: adopted.response, more }) }
    }

    fn at_least_committed(
        id: Incarnation,
        state: &IncarnationState,
        final_position: WalPosition,
    ) -> Result<(), IncarnationRejection> {
        if final_position < state.committed {
            let committed = state.committed;
            return Err(IncarnationRejection::BelowCommitted { incarnation: id, final_position, committed });
        }
        Ok(())
    }

    /// The taker found corruption that a torn tail cannot explain.
    pub fn damaged(&self, id: Incarnation, taker: Incarnation, reason: &str) -> Step {
        self.step(id, |state| {
            self.registered(taker)?;
            match &state.phase {
                IncarnationPhase::Assigned(present) if *present == taker => {
                    Ok(Some(IncarnationPhase::Damaged { reason: reason.into() }))
                }
                IncarnationPhase::Damaged { .. } => Ok(None),
                _ => Err(Self::wrong(id, state, "declared damaged by this broker")),
            }
        })
    }

    /// The operator gives up what was not committed.
    pub fn abandon(&self, id: Incarnation) -> Step {
        self.step(id, |state| match state.phase {
            IncarnationPhase::Damaged { .. } | IncarnationPhase::Fenced | IncarnationPhase::Assigned(_) => {
                Ok(Some(IncarnationPhase::Abandoned))
            }
            IncarnationPhase::Abandoned => Ok(None),
            _ => Err(Self::wrong(id, state, "abandoned")),
        })
    }

    /// The owner has committed everything and acknowledges nothing more.
    pub fn drained(&self, id: Incarnation, final_position: WalPosition) -> Step {
        self.step(id, |state| {
            if let IncarnationPhase::Recovered { final_position: known } = state.phase
                && known == final_position
            {
                return Ok(None);
            }
            self.registered(id)?;
            match state.phase {
                IncarnationPhase::Open => {
                    Self::at_least_committed(id, state, final_position)?;
                    Ok(Some(IncarnationPhase::Recovered { final_position }))
                }
                _ => Err(Self::wrong(id, state, "drained")),
            }
        })
    }

    /// The files of an incarnation that was given up were found and removed, so that none of them can come back: it is
    /// forgotten, or, while streams name it as their last owner, known to be nowhere.
    pub fn cleared(&self, id: Incarnation) -> Step {
        let Some(state) = self.incarnation(id) else {
            return Decision::unchanged(Ok(()));
        };
        if state.phase != IncarnationPhase::Abandoned {
            return Decision::unchanged(Err(Self::wrong(id, state, "cleared")));
        }
        if self.streams_of(id).next().is_none() {
            return self.remove_incarnation(id);
        }
        if state.is_nowhere() {
            return Decision::unchanged(Ok(()));
        }
        let nowhere = WalPlace { location: "".into(), ..state.wal.clone() };
        let nowhere = IncarnationState { wal: nowhere, ..state.clone() };
        Decision { records: vec![record_of(id, &nowhere, &nowhere.phase).into()], response: Ok(()) }
    }

    /// Forgets an incarnation whose life has ended and whose files are gone.
    pub fn remove_incarnation(&self, id: Incarnation) -> Step {
        let Some(state) = self.incarnation(id) else {
            return Decision::unchanged(Ok(()));
        };
        if !state.phase.is_final() {
            return Decision::unchanged(Err(Self::wrong(id, state, "forgotten")));
        }
        // Without the row an owner that is still registered would pass for one whose WAL was never opened.
        if self.streams_of(id).next().is_some() {
            return Decision::unchanged(Err(Self::wrong(id, state, "forgotten while it is the last owner of streams")));
        }
        let record = RemoveIncarnationRecord { broker_id: id.broker.0, broker_epoch: id.epoch.0, ..Default::default() };
        Decision { records: vec![MetadataRecord::from(record)], response: Ok(()) }
    }
}
