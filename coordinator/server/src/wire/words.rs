//! The core's words and the wire's, which have the same values.

use tercet_core::model::{ActionStatus, BizStatus, Cause, Mode, Operation, Outcome, TxStatus};
use tercet_proto::v1;

/// The names of every mode, for people.
pub(crate) const MODES: &str = "MODE_TCC, MODE_COMPENSATE, MODE_DELIVER";
/// The names of both outcomes.
pub(crate) const OUTCOMES: &str = "OUTCOME_SUCCESS, OUTCOME_FAILURE";
/// The names of all that a caller may wait for.
pub(crate) const WAITS: &str = "WAIT_DECIDED, WAIT_COMPLETED, WAIT_ACCEPTED";
/// The names of every protocol.
pub(crate) const PROTOCOLS: &str = "PROTOCOL_ATTACH, PROTOCOL_INVOKE, PROTOCOL_GRPC, PROTOCOL_HTTP";
/// The names of every status.
pub(crate) const STATUSES: &str =
    "TX_STATUS_PROCESS_WAITING, TX_STATUS_PROCESSING, TX_STATUS_SUCCESS, TX_STATUS_FAILURE";
/// The names of every business status.
pub(crate) const BIZ_STATUSES: &str =
    "BIZ_STATUS_INIT, BIZ_STATUS_UNKNOWN, BIZ_STATUS_SUCCESS, BIZ_STATUS_FAILURE";
/// The names of the statuses in which an action ends by an operator's word.
pub(crate) const RESOLVED: &str = "ACTION_STATUS_CONFIRMED, ACTION_STATUS_CANCELLED";

/// Converts a word of the core to the wire's.
macro_rules! to_wire {
    ($name:ident: $word:ident { $($value:ident)+ }) => {
        pub(crate) fn $name(word: $word) -> v1::$word {
            match word { $($word::$value => v1::$word::$value,)+ }
        }
    };
}

/// Converts a number of the wire to the core's word; `None` where it is unspecified or unknown.
macro_rules! from_wire {
    ($name:ident: $word:ident { $($value:ident)+ }) => {
        pub(crate) fn $name(number: i32) -> Option<$word> {
            match v1::$word::try_from(number).ok()? {
                v1::$word::Unspecified => None,
                $(v1::$word::$value => Some($word::$value),)+
            }
        }
    };
}

to_wire!(mode: Mode { Tcc Compensate Deliver });
from_wire!(mode_from: Mode { Tcc Compensate Deliver });
to_wire!(operation: Operation { Try Confirm Cancel });
from_wire!(operation_from: Operation { Try Confirm Cancel });
from_wire!(outcome_from: Outcome { Success Failure });
to_wire!(status: TxStatus { ProcessWaiting Processing Success Failure });
from_wire!(status_from: TxStatus { ProcessWaiting Processing Success Failure });
to_wire!(biz_status: BizStatus { Init Unknown Success Failure });
from_wire!(biz_status_from: BizStatus { Init Unknown Success Failure });
to_wire!(action_status: ActionStatus { Init Tried Rejected Confirmed Cancelled Failed });
from_wire!(action_status_from: ActionStatus { Init Tried Rejected Confirmed Cancelled Failed });

pub(crate) fn cause(cause: &Cause) -> v1::Cause {
    let (kind, action, reason) = match cause {
        Cause::AllTried => (v1::CauseKind::AllTried, "", ""),
        Cause::Rejected { action, reason } => (v1::CauseKind::Rejected, &**action, reason.as_str()),
        Cause::Deadline { action, reason } => (
            v1::CauseKind::Deadline,
            action.as_deref().unwrap_or_default(),
            reason.as_str(),
        ),
        Cause::Aborted { reason } => (v1::CauseKind::Aborted, "", reason.as_str()),
        Cause::Initiator { reason } => (v1::CauseKind::Initiator, "", reason.as_str()),
        Cause::CheckBack { reason } => (v1::CauseKind::CheckBack, "", reason.as_str()),
        Cause::Operator { reason } => (v1::CauseKind::Operator, "", reason.as_str()),
    };
    v1::Cause {
        kind: kind.into(),
        action: action.to_owned(),
        reason: reason.to_owned(),
    }
}
