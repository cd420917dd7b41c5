//! Times, durations, statuses and tables in words.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tercet_proto::v1;

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
    use v1::{BizStatus, TxStatus};
    match (transaction.status(), transaction.biz_status()) {
        (TxStatus::ProcessWaiting, BizStatus::Unknown) => "asking back",
        (TxStatus::ProcessWaiting, _) => "trying",
        (TxStatus::Processing, BizStatus::Success) => "confirming",
        (TxStatus::Processing, _) => "cancelling",
        (TxStatus::Success, BizStatus::Success) => "committed",
        (TxStatus::Success, _) => "rolled back",
        (TxStatus::Failure, BizStatus::Success) => "parked (confirming)",
        (TxStatus::Failure, _) => "parked (cancelling)",
        (TxStatus::Unspecified, _) => "unknown",
    }
}

/// Returns whether the next step is under way or soon will be: the transaction is neither over nor at rest.
pub(crate) fn is_in_hand(transaction: &v1::Transaction) -> bool {
    use v1::TxStatus::{ProcessWaiting, Processing};
    let is_over = !matches!(transaction.status(), ProcessWaiting | Processing);
    !is_over && transaction.next_attempt_at_micros == 0
}

/// The cause of the decision.
pub(crate) fn cause(cause: Option<&v1::Cause>) -> String {
    let Some(cause) = cause else {
        return String::new();
    };
    let reason = plain(&cause.reason);
    let because = |text: &str| match reason.as_str() {
        "" => text.to_owned(),
        reason => format!("{text}: {reason}"),
    };
    match cause.kind() {
        v1::CauseKind::AllTried => "every Try answered OK".to_owned(),
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

/// The last word of an enum's wire name: `TX_STATUS_SUCCESS` gives `SUCCESS`.
pub(crate) fn short<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

/// Replaces the control characters of a foreign text, which would steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Rows in columns as wide as they need; the last one is not filled up.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], indent: &str) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = indent.to_owned();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
