//! Observation of the engine's work, apart from the work itself.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tercet_core::{
    id::TxId,
    model::{Name, Phase},
    port::Output,
    write::{ApplyFailure, Write, WriteResult},
};
use tercet_store::StoreError;
use tracing::{debug, error, info, warn};

/// Watches the work of the engine's thread. An observer changes nothing, and must be quick: the thread waits for it.
pub(crate) trait Observer: Send {
    /// Observes an output of the engine, before it is carried out.
    fn output(&mut self, output: &Output);

    /// Observes the results of writes, before the engine has them.
    fn written(&mut self, results: &[(TxId, WriteResult)]);

    /// Observes that a commit, or the reading after one, failed; the lane resolves or repeats it.
    fn commit_failed(&mut self, error: &StoreError);

    /// Observes that a read for the engine failed; the engine repeats it.
    fn read_failed(&mut self, error: &StoreError);

    /// Observes that the database takes no writes, with its last error; `None`: it does not answer.
    fn stalled(&mut self, error: Option<&StoreError>);

    /// Observes that the database takes writes again.
    fn writes_again(&mut self);

    /// Observes that the process stood still until now, for about this time.
    fn stood_still(&mut self, by: Duration);
}

/// Writes the log.
#[derive(Default)]
pub(crate) struct Log {
    /// Transactions whose write under way parks them: reported once it is durable.
    parking: HashSet<TxId>,
    /// Whether the last commit failed, and that is reported.
    failing: bool,
    /// Participants whose address is down, and that is reported.
    down: HashSet<Name>,
}

impl Observer for Log {
    fn output(&mut self, output: &Output) {
        match output {
            Output::Write(write) => self.write(write),
            Output::Call(call) => debug!(
                tx_id = %call.tx,
                action = %call.action.name,
                operation = %call.operation,
                attempt = call.attempt,
                participant = %call.action.participant,
                "call"
            ),
            Output::AskBack(ask) => {
                debug!(tx_id = %ask.tx, participant = %ask.participant, attempt = ask.attempt, "ask back");
            }
            Output::Illegal(row) => {
                error!(tx_id = %row.id, what = row.what, "a row is not legal; it is not touched until it is repaired");
            }
            Output::Outage(participant, Some(outage)) => {
                if self.down.insert(Arc::clone(participant)) {
                    warn!(%participant, error = outage.error, "a participant's address takes no call; its transactions wait until it does");
                }
            }
            Output::Outage(participant, None) => {
                if self.down.remove(participant) {
                    info!(%participant, "a participant's address takes calls again");
                }
            }
            Output::Withdraw { .. } | Output::Reply(..) | Output::Read(_) => {}
        }
    }

    fn written(&mut self, results: &[(TxId, WriteResult)]) {
        let durable = |(_, result): &(TxId, WriteResult)| *result == WriteResult::Durable;
        self.failing &= !results.iter().any(durable);
        if self.parking.is_empty() {
            return;
        }
        for (id, result) in results {
            if *result != WriteResult::Unanswered
                && self.parking.remove(id)
                && *result == WriteResult::Durable
            {
                warn!(tx_id = %id, "parked: an action failed, a person must look (tercet tx show)");
            }
        }
    }

    fn commit_failed(&mut self, error: &StoreError) {
        if error.kind == ApplyFailure::Moved {
            debug!(%error, "a write of the commit found another version");
        } else if self.failing {
            debug!(%error, "a commit failed again");
        } else {
            self.failing = true;
            warn!(%error, "a commit failed; it is resolved or repeated");
        }
    }

    fn read_failed(&mut self, error: &StoreError) {
        warn!(%error, "rows could not be read; the read is repeated");
    }

    fn stalled(&mut self, error: Option<&StoreError>) {
        if let Some(error) = error {
            error!(%error, "the database takes no writes; requests are refused until it does");
        } else {
            error!("the database does not answer; requests are refused until it does");
        }
    }

    fn writes_again(&mut self) {
        info!("the database takes writes again");
    }

    fn stood_still(&mut self, by: Duration) {
        warn!(
            seconds = by.as_secs_f64(),
            "the process stood still: it was stopped, or got no processor; that time is not taken for the silence of \
             the database or a participant"
        );
    }
}

impl Log {
    fn write(&mut self, write: &Write) {
        debug!(
            tx_id = %write.id,
            version = write.head.version,
            status = %write.head.phase.status(),
            biz_status = %write.head.phase.biz_status(),
            "write"
        );
        if let Some(entry) = &write.operator {
            info!(
                tx_id = %write.id,
                who = %entry.who,
                command = entry.command,
                reason = entry.reason,
                "operator"
            );
        }
        if matches!(write.head.phase, Phase::Parked { .. }) {
            self.parking.insert(write.id);
        }
    }
}
