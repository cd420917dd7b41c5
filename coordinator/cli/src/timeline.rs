//! The timeline of a transaction: each line from columns of the database.
//!
//! An attempt is stored where it did not go well at once. That a Try was answered OK follows from the status of its action
//! or from the decision, and one that has no answer yet from the absence of both.

use std::fmt::Write as _;

use tercet_proto::v1::{self, ActionStatus, BizStatus, CauseKind, Mode, Operation};

use crate::{
    table::{self, Column},
    words::{self, plain, short, took},
};

/// One line.
struct Step {
    /// When it happened; `None`: now.
    at: Option<i64>,
    part: Part,
    what: String,
}

/// The part of a transaction's life in which a step is, which orders steps of one moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Before,
    Decision,
    After,
}

impl Step {
    fn at(at: i64, what: String) -> Self {
        Self {
            at: Some(at),
            part: Part::Before,
            what,
        }
    }

    /// Puts the step after the decision, where both have one time.
    fn after(self) -> Self {
        Self {
            part: Part::After,
            ..self
        }
    }
}

/// Returns the timeline as a table.
pub(crate) fn table(tx: &v1::Transaction) -> String {
    let mut steps = steps(tx);
    // Steps of one moment and part stay in the order in which they were found, and those of now come last.
    steps.sort_by_key(|step| (step.at.unwrap_or(i64::MAX), step.part));
    let rows: Vec<_> = steps
        .into_iter()
        .map(|step| match step.at {
            Some(at) => {
                let since = took(at.saturating_sub(tx.create_time_micros));
                vec![words::time(at), format!("+{since}"), step.what]
            }
            None => vec!["now".to_owned(), String::new(), step.what],
        })
        .collect();
    let columns = ["AT", "AFTER", "WHAT"].map(Column::whole);
    table::table(&columns, &rows, "  ", None)
}

fn steps(tx: &v1::Transaction) -> Vec<Step> {
    let begun: Vec<_> = tx
        .actions
        .iter()
        .filter(|view| view.create_time_micros == tx.create_time_micros)
        .map(name)
        .collect();
    let mut steps = vec![Step::at(
        tx.create_time_micros,
        match begun.as_slice() {
            [] => "begun".to_owned(),
            names => format!("begun with {}", names.join(", ")),
        },
    )];
    for view in &tx.actions {
        of_action(tx, view, &mut steps);
    }
    for entry in &tx.operator_log {
        let what = format!(
            "operator {}: {} ({}), was {}",
            plain(&entry.who),
            plain(&entry.command),
            plain(&entry.reason),
            plain(&entry.before)
        );
        steps.push(Step::at(entry.at_micros, what));
    }
    if let (Some(last), Some(check_back)) = (&tx.last_check_back, &tx.check_back) {
        let initiator = plain(&check_back.participant);
        let mut what = format!("question {} to {initiator}: UNKNOWN", last.number);
        if !last.error.is_empty() {
            let _ = write!(what, " ({})", plain(&last.error));
        }
        steps.push(Step::at(last.at_micros, what));
    }
    let (deadline, decided) = (tx.deadline_at_micros, tx.decided_at_micros);
    if decided == 0 || deadline <= decided {
        steps.push(Step::at(deadline, "deadline of phase one".to_owned()));
    }
    if decided != 0 {
        let outcome = short(tx.biz_status().as_str_name(), "BIZ_STATUS_");
        let cause = words::cause(tx);
        let what = format!("decided {outcome}: {cause}");
        steps.push(Step {
            part: Part::Decision,
            ..Step::at(decided, what)
        });
    }
    if tx.finished_at_micros != 0 {
        let standing = words::standing(tx).to_owned();
        steps.push(Step::at(tx.finished_at_micros, standing).after());
    }
    steps
}

fn name(view: &v1::ActionView) -> String {
    view.action
        .as_ref()
        .map(|action| plain(&action.name))
        .unwrap_or_default()
}

fn of_action(tx: &v1::Transaction, view: &v1::ActionView, steps: &mut Vec<Step>) {
    let name = name(view);
    if view.create_time_micros != tx.create_time_micros {
        steps.push(Step::at(view.create_time_micros, format!("{name} added")));
    }
    for attempt in &view.attempts {
        let step = Step::at(attempt.at_micros, attempted(&name, attempt));
        steps.push(match attempt.operation() {
            Operation::Confirm | Operation::Cancel => step.after(),
            Operation::Try | Operation::Unspecified => step,
        });
    }
    if tx.executed {
        steps.extend(of_try(tx, view));
    }
    if view.finished_at_micros != 0 {
        let status = short(view.status().as_str_name(), "ACTION_STATUS_");
        let step = Step::at(view.finished_at_micros, format!("{name} {status}"));
        steps.push(match view.status() {
            ActionStatus::Rejected => step,
            _ => step.after(),
        });
    }
}

fn attempted(name: &str, attempt: &v1::Attempt) -> String {
    let operation = short(attempt.operation().as_str_name(), "OPERATION_");
    let mut what = match attempt.number {
        0 => format!("{operation} {name}: not sent"),
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
    what
}

/// Returns the line for an action's Try that is no stored attempt: that it was answered OK, or has no answer.
fn of_try(tx: &v1::Transaction, view: &v1::ActionView) -> Option<Step> {
    let action = view.action.as_ref()?;
    if action.mode() == Mode::Deliver || action.already_tried {
        return None;
    }
    let name = plain(&action.name);
    let step = |what: String| Step {
        part: Part::Before,
        // The time of an answer is not kept: it came before the decision.
        at: (tx.decided_at_micros != 0).then_some(tx.decided_at_micros),
        what,
    };
    let all_tried = tx.cause.as_ref().map(v1::Cause::kind) == Some(CauseKind::AllTried);
    let tried = all_tried || view.status() == ActionStatus::Tried || !view.result.is_empty();
    if tried {
        return Some(step(format!("TRY {name}: OK")));
    }
    if view.status() == ActionStatus::Rejected {
        let reason = plain(&view.last_error);
        return Some(step(format!("TRY {name}: REJECTED ({reason})")));
    }
    let attempts = view.attempts.iter();
    if attempts
        .into_iter()
        .any(|it| it.operation() == Operation::Try)
    {
        return None;
    }
    if tx.decided_at_micros == 0 {
        let before = untried_before(tx, action);
        return Some(step(match before.as_slice() {
            [] => format!("TRY {name}: no answer yet"),
            names => format!("TRY {name}: waits for {}", names.join(", ")),
        }));
    }
    let never_sent =
        tx.biz_status() == BizStatus::Failure && view.finished_at_micros == tx.decided_at_micros;
    Some(step(if never_sent {
        format!("TRY {name}: not sent")
    } else {
        format!("TRY {name}: no answer before the decision")
    }))
}

/// Returns the actions before this one whose Try is not known to be OK.
fn untried_before(tx: &v1::Transaction, action: &v1::Action) -> Vec<String> {
    let before = tx.actions.iter().filter(|other| {
        let name = other.action.as_ref().map(|it| it.name.as_str());
        let is_before = name.is_some_and(|name| action.after.iter().any(|it| it == name));
        is_before && other.status() == ActionStatus::Init
    });
    before.map(name).collect()
}
