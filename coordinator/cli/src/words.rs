//! Times, durations, statuses and tables in words.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tercet_proto::v1;

use crate::standing::Standing;

/// A time of the database, in UTC.
pub(crate) fn time(micros: i64) -> String {
    DateTime::<Utc>::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |at| at.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

/// A duration in one unit.
pub(crate) fn took(micros: i64) -> String {
    let micros = u64::try_from(micros).unwrap_or(0);
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        1_000_000..120_000_000 => {
            format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000)
        }
        _ => humantime::format_duration(Duration::from_secs(micros / 1_000_000)).to_string(),
    }
}

/// Both statuses in one word or two.
pub(crate) fn standing(transaction: &v1::Transaction) -> &'static str {
    Standing::of(transaction).map_or("unknown", Standing::word)
}

/// Returns whether the next step is under way or soon will be: the transaction is neither over nor at rest.
pub(crate) fn is_in_hand(transaction: &v1::Transaction) -> bool {
    use v1::TxStatus::{ProcessWaiting, Processing};
    let is_over = !matches!(transaction.status(), ProcessWaiting | Processing);
    !is_over && transaction.next_attempt_at_micros == 0
}

/// Names the participants whose calls a transaction wants, or in brackets what is under way for it. Empty once it is over.
pub(crate) fn waits_for(tx: &v1::Transaction) -> String {
    if !tx.waiting_for.is_empty() {
        return plain(&tx.waiting_for);
    }
    let under_way = match Standing::of(tx) {
        Some(Standing::Trying) if tx.executed => "Try",
        Some(Standing::Trying) => "its initiator",
        Some(Standing::AskingBack) => "its check-back",
        Some(Standing::Confirming) => "Confirm",
        Some(Standing::Cancelling) => "Cancel",
        _ => return String::new(),
    };
    format!("({under_way})")
}

/// The questions to the initiator: their number, and the last answer that was no outcome. One that no connection took was
/// not asked, so that a question is only known to have been asked once it has an answer.
pub(crate) fn questions(tx: &v1::Transaction) -> String {
    let Some(last) = &tx.last_check_back else {
        let answered = tx.cause.as_ref().map(v1::Cause::kind) == Some(v1::CauseKind::CheckBack);
        return match tx.check_backs {
            0 => ", not asked".to_owned(),
            number if answered => format!(", question {number} answered"),
            number if tx.cause.is_some() => format!(", question {number} not answered"),
            number => format!(", question {number} due or under way"),
        };
    };
    let at = time(last.at_micros);
    let mut text = format!(", question {} without an outcome at {at}", last.number);
    let error = plain(&last.error);
    if !error.is_empty() {
        text = format!("{text} ({error})");
    }
    if tx.cause.is_none() && last.next_at_micros != 0 {
        text = format!("{text}, the next at {}", time(last.next_at_micros));
    }
    text
}

/// The cause of the decision.
pub(crate) fn cause(tx: &v1::Transaction) -> String {
    let Some(cause) = &tx.cause else {
        return String::new();
    };
    let reason = plain(&cause.reason);
    let because = |text: &str| match reason.as_str() {
        "" => text.to_owned(),
        reason => format!("{text}: {reason}"),
    };
    match cause.kind() {
        v1::CauseKind::AllTried if tx.actions.iter().any(is_tried) => {
            "every Try answered OK".to_owned()
        }
        // A list has no actions.
        v1::CauseKind::AllTried if tx.actions.is_empty() => "no Try failed".to_owned(),
        v1::CauseKind::AllTried => "there was nothing to try".to_owned(),
        v1::CauseKind::Rejected => because(&format!("{} was rejected", plain(&cause.action))),
        v1::CauseKind::Deadline if cause.action.is_empty() => {
            because("phase one did not end in time")
        }
        v1::CauseKind::Deadline => {
            because(&format!("{} was not tried in time", plain(&cause.action)))
        }
        v1::CauseKind::Aborted | v1::CauseKind::Initiator => because("the initiator decided"),
        v1::CauseKind::CheckBack => because("the initiator was asked back"),
        v1::CauseKind::Operator => because("an operator decided"),
        v1::CauseKind::Unspecified => String::new(),
    }
}

/// Returns whether an action has a phase one.
fn is_tried(view: &v1::ActionView) -> bool {
    let action = view.action.as_ref();
    action.is_some_and(|action| action.mode() != v1::Mode::Deliver)
}

/// Why a transaction is where it is: the first obstacle in its way, or else the cause of its decision.
pub(crate) fn because(tx: &v1::Transaction) -> String {
    match tx.obstacles.first() {
        Some(obstacle) => plain(obstacle),
        None if Standing::of(tx).is_some_and(Standing::is_parked) => {
            "an action failed; see tercet tx show".to_owned()
        }
        None => cause(tx),
    }
}

/// The last word of an enum's wire name: `TX_STATUS_SUCCESS` gives `SUCCESS`.
pub(crate) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// Makes one line of a foreign text: its line breaks become spaces, and its control characters, which would steer a
/// terminal, a sign.
pub(crate) fn plain(text: &str) -> String {
    let sign = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(sign).collect()
}

/// Cuts a text to so many characters, the sign of the cut included.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use tercet_proto::v1::{self, BizStatus, TxStatus};

    use super::{questions, waits_for};

    #[test]
    fn a_question_was_asked_once_it_has_an_answer() {
        for (check_backs, cause, words) in [
            (0, None, ", not asked"),
            (1, None, ", question 1 due or under way"),
            (
                1,
                Some(v1::CauseKind::Operator),
                ", question 1 not answered",
            ),
            (1, Some(v1::CauseKind::CheckBack), ", question 1 answered"),
        ] {
            let tx = v1::Transaction {
                check_backs,
                cause: cause.map(|kind| v1::Cause {
                    kind: kind.into(),
                    ..v1::Cause::default()
                }),
                ..v1::Transaction::default()
            };
            assert_eq!(questions(&tx), words);
        }
    }

    #[test]
    fn a_transaction_in_hand_waits_for_what_is_under_way() {
        for (executed, status, biz_status, words) in [
            (true, TxStatus::ProcessWaiting, BizStatus::Init, "(Try)"),
            (
                false,
                TxStatus::ProcessWaiting,
                BizStatus::Init,
                "(its initiator)",
            ),
            (
                false,
                TxStatus::ProcessWaiting,
                BizStatus::Unknown,
                "(its check-back)",
            ),
            (true, TxStatus::Processing, BizStatus::Success, "(Confirm)"),
            (true, TxStatus::Processing, BizStatus::Failure, "(Cancel)"),
            (true, TxStatus::Success, BizStatus::Failure, ""),
            (true, TxStatus::Failure, BizStatus::Success, ""),
        ] {
            let mut tx = v1::Transaction {
                executed,
                status: status.into(),
                biz_status: biz_status.into(),
                ..v1::Transaction::default()
            };
            assert_eq!(waits_for(&tx), words);
            tx.waiting_for = "points, coupons".to_owned();
            assert_eq!(waits_for(&tx), "points, coupons", "at rest");
        }
    }
}
