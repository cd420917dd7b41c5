//! Statuses, modes and operations, each with the word that people and the database see.

use crate::words::words;

words! {
    /// The mode of an action: what its Try does, and which calls phase two makes.
    Mode {
        /// Try freezes, Confirm uses, Cancel gives back.
        Tcc = "TCC",
        /// Try really does it, Cancel undoes it.
        Compensate = "COMPENSATE",
        /// Confirm delivers; there is nothing else.
        Deliver = "DELIVER",
    }
}

words! {
    /// An operation of a participant.
    Operation {
        /// Phase one.
        Try = "TRY",
        /// Phase two after SUCCESS.
        Confirm = "CONFIRM",
        /// Phase two after FAILURE.
        Cancel = "CANCEL",
    }
}

words! {
    /// The business outcome of a transaction, as decided.
    Outcome {
        /// Every action takes effect.
        Success = "SUCCESS",
        /// No action takes effect.
        Failure = "FAILURE",
    }
}

words! {
    /// The progress of the work: the column `tx_info.status`.
    TxStatus {
        /// Phase one.
        ProcessWaiting = "PROCESS_WAITING",
        /// Phase two.
        Processing = "PROCESSING",
        /// Every action has a final status under the decision.
        Success = "SUCCESS",
        /// Parked.
        Failure = "FAILURE",
    }
}

words! {
    /// The knowledge of the business outcome: the column `tx_info.biz_status`.
    BizStatus {
        /// Not decided.
        Init = "INIT",
        /// The initiator is being asked back.
        Unknown = "UNKNOWN",
        /// Decided.
        Success = "SUCCESS",
        /// Decided.
        Failure = "FAILURE",
    }
}

words! {
    /// The progress of one action: the column `action_info.status`.
    ActionStatus {
        /// Not yet tried, as far as is known.
        Init = "INIT",
        /// Its Try is done.
        Tried = "TRIED",
        /// Its Try was rejected: no effect.
        Rejected = "REJECTED",
        /// It has taken effect for good.
        Confirmed = "CONFIRMED",
        /// It has no effect, for good.
        Cancelled = "CANCELLED",
        /// It cannot finish by itself.
        Failed = "FAILED",
    }
}

words! {
    /// The outcome of a call that did not succeed at once.
    AttemptOutcome {
        /// It is not known whether it took effect.
        Unknown = "UNKNOWN",
        /// The participant rejected it.
        Rejected = "REJECTED",
        /// There was no way to the participant; nothing was sent.
        Unreachable = "UNREACHABLE",
    }
}

words! {
    /// The party that makes the Tries and decides: the column `tx_info.driver`.
    Decider {
        /// The coordinator (Execute).
        Coordinator = "COORDINATOR",
        /// The initiator (Begin, `AddAction`, Decide).
        Initiator = "INITIATOR",
    }
}

/// Returns both statuses in one word or two, as people see them.
pub fn standing(status: TxStatus, biz_status: BizStatus) -> &'static str {
    match (status, biz_status) {
        (TxStatus::ProcessWaiting, BizStatus::Unknown) => "asking back",
        (TxStatus::ProcessWaiting, _) => "trying",
        (TxStatus::Processing, BizStatus::Success) => "confirming",
        (TxStatus::Processing, _) => "cancelling",
        (TxStatus::Success, BizStatus::Success) => "committed",
        (TxStatus::Success, _) => "rolled back",
        (TxStatus::Failure, BizStatus::Success) => "parked (confirming)",
        (TxStatus::Failure, _) => "parked (cancelling)",
    }
}
