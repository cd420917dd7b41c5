//! The reasons why a transaction is not finished, in words.

use tercet_core::{
    limits,
    model::{ActionStatus, BizStatus, Rest, TxStatus},
    row::ActionRow,
    time::Timestamp,
};
use tercet_store::TxView;

use crate::{
    bounds,
    directory::{Directory, Protocol},
};

/// Returns the reasons why a transaction is not finished, one sentence per obstacle.
pub(super) fn obstacles(view: &TxView, now: Timestamp, directory: &Directory) -> Vec<String> {
    let tx = &view.tx;
    let id = tx.spec.id;
    let mut sentences = Vec::new();
    if tx.status == TxStatus::Success {
        return sentences;
    }
    for action in &view.actions {
        if let Some(sentence) = of_action(action) {
            sentences.push(sentence);
        }
    }
    if tx.status == TxStatus::Failure {
        sentences.push(format!(
            "The transaction is parked: put the failed actions back to work with \
             `tercet tx retry {id} --reason TEXT`, or end them by hand with \
             `tercet tx resolve {id} ACTION --as confirmed|cancelled --reason TEXT`."
        ));
        return sentences;
    }
    if tx.status == TxStatus::ProcessWaiting && tx.spec.create_time > now + limits::BEGUN_AHEAD {
        sentences.push(format!(
            "It was begun {} s ahead of the present time: the database's clock was wrong then, and so is the \
             deadline that is shown. Phase one ends in time all the same. An operator may decide before: `tercet tx decide {id} success|failure --reason TEXT`.",
            tx.spec.create_time.since(now).as_secs()
        ));
    }
    if tx.biz_status == BizStatus::Unknown
        && let Some(check_back) = &tx.spec.check_back
    {
        sentences.push(format!(
            "Phase one is over and the initiator did not decide; {} was asked {} time(s) without an \
             outcome. An operator may decide: `tercet tx decide {id} success|failure --reason TEXT`.",
            check_back.participant, tx.check_backs
        ));
    }
    let initiator = tx
        .spec
        .check_back
        .as_ref()
        .map(|check_back| &check_back.participant);
    let phase_one = tx.status == TxStatus::ProcessWaiting;
    let waits = view
        .actions
        .iter()
        // In phase one of a Begin the initiator makes the calls.
        .filter(|action| is_open(action) && (!phase_one || tx.spec.is_executed()))
        .map(|action| &action.spec.participant);
    let mut seen = Vec::new();
    let initiator = initiator.filter(|_| tx.biz_status == BizStatus::Unknown);
    for name in waits.chain(initiator) {
        if !seen.contains(&name) {
            seen.push(name);
            sentences.extend(of_participant(name, directory));
        }
    }
    if let Some(rest) = &tx.rest {
        sentences.extend(overdue(rest, now));
    }
    sentences
}

/// Returns a sentence for each thing that could have taken a transaction at rest further, and did not.
fn overdue(rest: &Rest, now: Timestamp) -> Vec<String> {
    let overdue = |at: Timestamp| Some(now.since(at)).filter(|time| *time >= bounds::STUCK_AFTER);
    let calls = rest.wants.iter().filter_map(|want| {
        let seconds = overdue(want.at)?.as_secs();
        Some(format!(
            "A call of participant {} has been due for {seconds} s; it waits for a way to it and a free place.",
            want.participant
        ))
    });
    let end = rest.until.and_then(overdue).map(|time| {
        let seconds = time.as_secs();
        format!("Phase one has been over for {seconds} s, and nothing has ended it yet.")
    });
    calls.chain(end).collect()
}

/// Returns the first obstacle in the way of a transaction of a list, an action that failed before one whose calls fail;
/// none where its row shows none.
pub(super) fn of_list(view: &TxView) -> Vec<String> {
    let failing = view.failing.iter();
    let worst = failing.min_by_key(|action| action.status != ActionStatus::Failed);
    let sentence = worst.and_then(|action| {
        // Many of them travel in one message.
        let error = &action.last_error[..action
            .last_error
            .floor_char_boundary(bounds::LIST_ERROR_BYTES)];
        sentence(&action.name, &action.participant, action.status, error)
    });
    sentence.into_iter().collect()
}

fn is_open(action: &ActionRow) -> bool {
    matches!(
        action.state.status,
        ActionStatus::Init | ActionStatus::Tried
    )
}

fn of_action(action: &ActionRow) -> Option<String> {
    let (spec, state) = (&action.spec, &action.state);
    sentence(
        &spec.name,
        &spec.participant,
        state.status,
        &state.last_error,
    )
}

fn sentence(
    name: &str,
    participant: &str,
    status: ActionStatus,
    last_error: &str,
) -> Option<String> {
    match status {
        ActionStatus::Failed => Some(format!(
            "Action {name} of {participant} failed: {}.",
            or(last_error, "no reason was given")
        )),
        ActionStatus::Init | ActionStatus::Tried if !last_error.is_empty() => Some(format!(
            "The last call of action {name} of {participant} did not succeed: {last_error}."
        )),
        _ => None,
    }
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

fn of_participant(name: &str, directory: &Directory) -> Option<String> {
    let known = directory.snapshot();
    let Some(participant) = known.get(name) else {
        return Some(format!(
            "Participant {name} is no longer known; let it attach, or register it."
        ));
    };
    (participant.protocol == Protocol::Attach && directory.attached(name) == 0)
        .then(|| format!("Participant {name} is not attached; its calls wait until it is."))
}
