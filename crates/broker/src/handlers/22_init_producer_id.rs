//! InitProducerId (key 22), versions 0–5.
//!
//! Gives an idempotent producer its id. Ids come in blocks from the metadata log, so that no two producers of the cluster
//! ever share one. From v3 on a producer may name the id it has: without a transactional id that asks for a fresh one, as
//! in Kafka. A transactional id is refused: for its timeout, where Kafka refuses that, and else because there are no
//! transactions.

use meta::MetaError;
use wire::ErrorCode;
use wire::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::call::Call;
use crate::core::Core;
use crate::errors::NO_TRANSACTIONS;
use crate::producer_ids::NoProducerId;

/// Kafka's `transaction.max.timeout.ms` where nobody sets another.
const TRANSACTION_TIMEOUT_MAX_MS: i32 = 15 * 60 * 1000;

pub(crate) async fn handle(core: &Core, _: &Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.code(),
        producer_id: -1,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    if let Some(id) = &request.transactional_id {
        if !id.is_empty() && !(1..=TRANSACTION_TIMEOUT_MAX_MS).contains(&request.transaction_timeout_ms) {
            return refuse(ErrorCode::InvalidTransactionTimeout);
        }
        // The response has no place for a message: the log carries it.
        tracing::warn!(transactional_id = %id, "{NO_TRANSACTIONS}");
        return refuse(ErrorCode::InvalidRequest);
    }
    match core.producer_ids.next(&core.meta).await {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id, producer_epoch: 0, ..InitProducerIdResponse::default() }
        }
        Err(error) => {
            tracing::warn!(%error, "no producer id to give out");
            refuse(without_id(&error))
        }
    }
}

/// What a producer is told for which there is no id.
fn without_id(error: &NoProducerId) -> ErrorCode {
    match error {
        // As Kafka's ProducerIdManager: clients of every age ask again after this one, and do not look for another
        // coordinator first.
        NoProducerId::NotYet
        | NoProducerId::Meta(
            MetaError::Fenced(_)
            | MetaError::OutcomeUnknown(_)
            | MetaError::Unreadable(_)
            | MetaError::Closed
            | MetaError::GivenUp(_),
        ) => ErrorCode::CoordinatorLoadInProgress,
        // They would ask for ever.
        NoProducerId::Meta(MetaError::TooLarge { .. } | MetaError::Unfit(_)) => ErrorCode::UnknownServerError,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::MetaSequence;
    use meta::{LogLost, Unfit};

    use super::*;

    #[test]
    fn a_producer_without_an_id_asks_again_unless_it_will_never_get_one() {
        let why = || Arc::from("a test");
        let place = MetaSequence(5);
        let again = [
            NoProducerId::NotYet,
            MetaError::Fenced(why()).into(),
            MetaError::OutcomeUnknown(why()).into(),
            MetaError::Unreadable(LogLost::Unreadable(place)).into(),
            MetaError::Closed.into(),
            MetaError::GivenUp(place).into(),
        ];
        for error in again {
            assert_eq!(without_id(&error), ErrorCode::CoordinatorLoadInProgress, "{error}");
        }
        for never in [MetaError::TooLarge { bytes: 2, limit: 1 }, MetaError::Unfit(Unfit(why()))] {
            assert_eq!(without_id(&never.into()), ErrorCode::UnknownServerError);
        }
    }
}
