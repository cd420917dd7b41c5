//! `tercet tx show`: one transaction as text.

use std::fmt::Write as _;

use tercet_proto::v1;

use crate::{
    payload,
    table::{Column, table},
    timeline,
    words::{self, cut, plain, short},
};

/// One transaction with its actions, its timeline and its obstacles, as text.
pub(crate) fn text(tx: &v1::Transaction) -> String {
    let mut text = head(tx);
    text.push_str(&actions(tx));
    text.push_str(&payloads(tx));
    text.push_str("\nTimeline (UTC)\n");
    text.push_str(&timeline::table(tx));
    if !tx.obstacles.is_empty() {
        text.push_str("\nIn the way\n");
        for obstacle in &tx.obstacles {
            let _ = writeln!(text, "  {}", plain(obstacle));
        }
    }
    text
}

/// Characters of an error in the table of actions: the timeline has the whole.
const ERROR_SHOWN: usize = 60;

fn head(tx: &v1::Transaction) -> String {
    let mut text = format!(
        "Transaction {}\n  business   {} / {}{}\n  standing   {}",
        tx.tx_id,
        plain(&tx.business_type),
        plain(&tx.business_id),
        if tx.unique_business { " (unique)" } else { "" },
        words::standing(tx),
    );
    let cause = words::cause(tx);
    let outcome = short(tx.biz_status().as_str_name(), "BIZ_STATUS_");
    let failed: Vec<_> = tx
        .actions
        .iter()
        .filter(|view| view.status() == v1::ActionStatus::Failed)
        .map(|view| plain(&view.action.clone().unwrap_or_default().name))
        .collect();
    if tx.cause.is_some() && failed.is_empty() {
        let _ = write!(text, ", because {cause}");
    } else if !failed.is_empty() {
        let _ = write!(text, ", because {} failed", failed.join(", "));
        let _ = write!(text, "\n  decision   {outcome}, because {cause}");
    }
    let _ = writeln!(
        text,
        "\n  driven by  {}, {}, version {}",
        if tx.executed {
            "Execute"
        } else {
            "its initiator"
        },
        plain(&tx.owner),
        tx.version,
    );
    let _ = writeln!(
        text,
        "  phase one  until {}",
        words::time(tx.deadline_at_micros)
    );
    if let Some(check_back) = &tx.check_back {
        let _ = writeln!(
            text,
            "  check-back {}{}",
            plain(&check_back.participant),
            words::questions(tx)
        );
    }
    if words::is_in_hand(tx) {
        let _ = writeln!(text, "  place      in hand of {}", plain(&tx.owner));
    }
    if !tx.waiting_for.is_empty() {
        let _ = writeln!(text, "  waits for  {}", plain(&tx.waiting_for));
    }
    if tx.next_attempt_at_micros != 0 {
        let _ = writeln!(
            text,
            "  next step  {}",
            words::time(tx.next_attempt_at_micros)
        );
    }
    for (key, value) in &tx.ext_properties {
        let _ = writeln!(text, "  {} = {}", plain(key), plain(value));
    }
    text
}

fn actions(tx: &v1::Transaction) -> String {
    if tx.actions.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = tx
        .actions
        .iter()
        .map(|view| {
            let begun = view.action.clone().unwrap_or_default();
            vec![
                plain(&begun.name),
                short(begun.mode().as_str_name(), "MODE_").to_owned(),
                plain(&format!("{} / {}", begun.participant, begun.handler)),
                short(view.status().as_str_name(), "ACTION_STATUS_").to_owned(),
                view.retry_count.to_string(),
                plain(&begun.after.join(", ")),
                cut(&plain(&view.last_error), ERROR_SHOWN),
            ]
        })
        .collect();
    let columns = [
        "ACTION",
        "MODE",
        "PARTICIPANT / HANDLER",
        "STATUS",
        "RETRIES",
        "AFTER",
        "LAST ERROR",
    ]
    .map(Column::whole);
    format!("\nActions\n{}", table(&columns, &rows, "  ", None))
}

/// Payloads and results of actions, those that are not empty.
fn payloads(tx: &v1::Transaction) -> String {
    let mut rows = Vec::new();
    for view in &tx.actions {
        let begun = view.action.clone().unwrap_or_default();
        for (what, bytes) in [("payload", &begun.payload), ("result", &view.result)] {
            if !bytes.is_empty() {
                rows.push(vec![
                    plain(&begun.name),
                    what.to_owned(),
                    payload::line(bytes),
                ]);
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let columns = ["ACTION", "WHAT", "BYTES"].map(Column::whole);
    format!("\nPayloads\n{}", table(&columns, &rows, "  ", None))
}
