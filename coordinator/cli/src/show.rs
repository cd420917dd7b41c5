//! `tercet tx show`: a timeline, each line from a column of the database.

use std::fmt::Write as _;
use tercet_proto::v1;

use crate::words::{self, plain, short, took};

/// One transaction with its actions, its timeline and its obstacles, as text.
pub(crate) fn text(tx: &v1::Transaction) -> String {
    let mut text = head(tx);
    text.push_str(&actions(tx));
    text.push_str("\nTimeline (UTC)\n");
    let mut steps = timeline(tx);
    // Steps of one moment stay in the order in which they were found.
    steps.sort_by_key(|step| step.at);
    let rows: Vec<_> = steps
        .into_iter()
        .map(|step| {
            let since = took(step.at - tx.create_time_micros);
            vec![words::time(step.at), format!("+{since}"), step.what]
        })
        .collect();
    text.push_str(&words::table(&["AT", "AFTER", "WHAT"], &rows, "  "));
    if !tx.obstacles.is_empty() {
        text.push_str("\nIn the way\n");
        for obstacle in &tx.obstacles {
            let _ = writeln!(text, "  {}", plain(obstacle));
        }
    }
    text
}

fn head(tx: &v1::Transaction) -> String {
    let mut text = format!(
        "Transaction {}\n  business   {} / {}{}\n  standing   {}",
        tx.tx_id,
        plain(&tx.business_type),
        plain(&tx.business_id),
        if tx.unique_business { " (unique)" } else { "" },
        words::standing(tx),
    );
    if tx.cause.is_some() {
        let _ = write!(text, ", because {}", words::cause(tx.cause.as_ref()));
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
                plain(&view.last_error),
            ]
        })
        .collect();
    let head = [
        "ACTION",
        "MODE",
        "PARTICIPANT / HANDLER",
        "STATUS",
        "RETRIES",
        "AFTER",
        "LAST ERROR",
    ];
    format!("\nActions\n{}", words::table(&head, &rows, "  "))
}

struct Step {
    at: i64,
    what: String,
}

fn timeline(tx: &v1::Transaction) -> Vec<Step> {
    let begun: Vec<_> = tx
        .actions
        .iter()
        .filter(|view| view.create_time_micros == tx.create_time_micros)
        .map(|view| plain(&view.action.clone().unwrap_or_default().name))
        .collect();
    let mut steps = vec![Step {
        at: tx.create_time_micros,
        what: match begun.as_slice() {
            [] => "begun".to_owned(),
            names => format!("begun with {}", names.join(", ")),
        },
    }];
    for view in &tx.actions {
        of_action(tx, view, &mut steps);
    }
    for entry in &tx.operator_log {
        steps.push(Step {
            at: entry.at_micros,
            what: format!(
                "operator {}: {} ({}), was {}",
                plain(&entry.who),
                plain(&entry.command),
                plain(&entry.reason),
                plain(&entry.before)
            ),
        });
    }
    if tx.decided_at_micros == 0 {
        steps.push(Step {
            at: tx.deadline_at_micros,
            what: "deadline of phase one".to_owned(),
        });
    } else {
        let outcome = short(tx.biz_status().as_str_name(), "BIZ_STATUS_");
        steps.push(Step {
            at: tx.decided_at_micros,
            what: format!("decided {outcome}: {}", words::cause(tx.cause.as_ref())),
        });
    }
    if tx.finished_at_micros != 0 {
        steps.push(Step {
            at: tx.finished_at_micros,
            what: words::standing(tx).to_owned(),
        });
    }
    steps
}

fn of_action(tx: &v1::Transaction, view: &v1::ActionView, steps: &mut Vec<Step>) {
    let name = plain(&view.action.clone().unwrap_or_default().name);
    if view.create_time_micros != tx.create_time_micros {
        steps.push(Step {
            at: view.create_time_micros,
            what: format!("{name} added"),
        });
    }
    for attempt in &view.attempts {
        let operation = short(attempt.operation().as_str_name(), "OPERATION_");
        let mut what = match attempt.number {
            0 => format!("{operation} {name} not sent: {}", attempt.outcome),
            number => format!(
                "{operation} {name}, attempt {number}, after {}: {}",
                took(attempt.duration_micros),
                attempt.outcome
            ),
        };
        if !attempt.error.is_empty() {
            let _ = write!(what, " ({})", plain(&attempt.error));
        }
        if attempt.next_at_micros != 0 {
            let _ = write!(what, ", next try {}", words::time(attempt.next_at_micros));
        }
        steps.push(Step {
            at: attempt.at_micros,
            what,
        });
    }
    if view.finished_at_micros != 0 {
        steps.push(Step {
            at: view.finished_at_micros,
            what: format!(
                "{name} {}",
                short(view.status().as_str_name(), "ACTION_STATUS_")
            ),
        });
    }
}
