//! The standing of a transaction: both of its statuses in one word.

use clap::ValueEnum;
use tercet_proto::v1::{self, BizStatus, TxStatus};

/// The standing of a transaction, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Standing {
    /// Phase one runs.
    Trying,
    /// The initiator is asked for the outcome.
    AskingBack,
    /// Decided SUCCESS; Confirm is called.
    Confirming,
    /// Decided FAILURE; Cancel is called.
    Cancelling,
    /// Finished: every action took effect.
    Committed,
    /// Finished: no action took effect.
    RolledBack,
    /// An action cannot be confirmed by itself.
    ParkedConfirming,
    /// An action cannot be cancelled by itself.
    ParkedCancelling,
}

impl Standing {
    /// Returns the standing of a transaction; `None` for statuses of a later version.
    pub(crate) fn of(tx: &v1::Transaction) -> Option<Self> {
        let all = Self::value_variants().iter();
        let mut found = all.filter(|standing| {
            let (status, outcomes) = standing.statuses();
            status == tx.status() && outcomes.contains(&tx.biz_status())
        });
        found.next().copied()
    }

    /// Returns the status, and the business statuses that go with it.
    pub(crate) fn statuses(self) -> (TxStatus, &'static [BizStatus]) {
        match self {
            Self::Trying => (TxStatus::ProcessWaiting, &[BizStatus::Init]),
            Self::AskingBack => (TxStatus::ProcessWaiting, &[BizStatus::Unknown]),
            Self::Confirming => (TxStatus::Processing, &[BizStatus::Success]),
            Self::Cancelling => (TxStatus::Processing, &[BizStatus::Failure]),
            Self::Committed => (TxStatus::Success, &[BizStatus::Success]),
            Self::RolledBack => (TxStatus::Success, &[BizStatus::Failure]),
            Self::ParkedConfirming => (TxStatus::Failure, &[BizStatus::Success]),
            Self::ParkedCancelling => (TxStatus::Failure, &[BizStatus::Failure]),
        }
    }

    /// Returns whether it is parked.
    pub(crate) fn is_parked(self) -> bool {
        matches!(self, Self::ParkedConfirming | Self::ParkedCancelling)
    }

    /// Returns the word of lists.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::AskingBack => "asking back",
            Self::Confirming => "confirming",
            Self::Cancelling => "cancelling",
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::ParkedConfirming => "parked (confirming)",
            Self::ParkedCancelling => "parked (cancelling)",
        }
    }
}

/// Reads a word of `--status`: a standing as lists show it, or a name for several.
pub(crate) fn parse(text: &str) -> Result<&'static [Standing], String> {
    use Standing::{
        AskingBack, Cancelling, Committed, Confirming, ParkedCancelling, ParkedConfirming,
        RolledBack, Trying,
    };
    let accepted = "accepted: trying, asking-back, confirming, cancelling, committed, rolled-back, parked; \
                    unfinished for the first four, finished for committed and rolled-back";
    Ok(match text {
        "trying" => &[Trying],
        "asking-back" => &[AskingBack],
        "confirming" => &[Confirming],
        "cancelling" => &[Cancelling],
        "processing" => &[Confirming, Cancelling],
        "committed" => &[Committed],
        "rolled-back" => &[RolledBack],
        "parked" => &[ParkedConfirming, ParkedCancelling],
        "finished" => &[Committed, RolledBack],
        "unfinished" => &[Trying, AskingBack, Confirming, Cancelling],
        "success" => {
            return Err(format!(
                "the column status says SUCCESS of what is committed and of what is rolled back alike; \
                 give committed, rolled-back or finished ({accepted})"
            ));
        }
        "failure" => {
            return Err(format!(
                "the column status says FAILURE of what is parked, and not of what is rolled back; give parked \
                 or rolled-back ({accepted})"
            ));
        }
        _ => return Err(accepted.to_owned()),
    })
}
