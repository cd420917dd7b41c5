//! The reasons why a transaction is not finished, in words.

use tercet_core::{
    limits,
    model::{ActionStatus, AttemptOutcome, BizStatus, Need, Rest, TxStatus},
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
        if let Some(sentence) = of_action(action, now) {
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
    if let Some(questions) = questions(view, usize::MAX, now, directory) {
        sentences.push(format!(
            "Phase one is over and the initiator did not decide; {questions}. An operator may decide: \
             `tercet tx decide {id} success|failure --reason TEXT`."
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
            sentences.extend(of_participant(name, now, directory));
        }
    }
    if let Some(rest) = &tx.rest {
        sentences.extend(overdue(rest, phase_one, now));
    }
    sentences
}

/// Returns how often the initiator was asked, and the reason why the last question brought no outcome, cut to so many
/// bytes; `None`: it is not being asked. A question that no connection took was not asked.
fn questions(view: &TxView, most: usize, now: Timestamp, directory: &Directory) -> Option<String> {
    let tx = &view.tx;
    let check_back = tx.spec.check_back.as_ref();
    let name = &check_back
        .filter(|_| tx.biz_status == BizStatus::Unknown)?
        .participant;
    Some(match &tx.last_check_back {
        Some(last) => {
            let error = &last.error[..last.error.floor_char_boundary(most)];
            let error = or(error, "no reason was given");
            let number = last.number;
            format!("{name} was asked {number} time(s) without an outcome, the last time: {error}")
        }
        None if tx.check_backs > 1 => {
            let number = tx.check_backs - 1;
            format!("{name} was asked {number} time(s) without an outcome")
        }
        None if of_participant(name, now, directory).is_some() => {
            format!("{name} could not be asked yet")
        }
        None if tx.rest.is_some() => format!("{name} was not asked yet"),
        None => format!("{name} is asked for the outcome, and has not answered yet"),
    })
}

/// Returns a sentence for each thing that could have taken a transaction at rest further, and did not.
fn overdue(rest: &Rest, phase_one: bool, now: Timestamp) -> Vec<String> {
    let overdue = |at: Timestamp| Some(now.since(at)).filter(|time| *time >= bounds::STUCK_AFTER);
    let calls = rest.wants.iter().filter_map(|want| {
        let seconds = overdue(want.at)?.as_secs();
        let participant = &want.participant;
        let wanted = match &want.need {
            Some(Need::Handler(handler, _)) => format!("call of handler {handler}"),
            Some(Need::CheckBack) => "check-back".to_owned(),
            None => "call".to_owned(),
        };
        Some(format!(
            "A {wanted} of participant {participant} has been due for {seconds} s; it waits for a way to it and a free \
             place."
        ))
    });
    let end = rest.until.and_then(overdue).map(|time| {
        let seconds = time.as_secs();
        if phase_one {
            format!("Phase one has been over for {seconds} s, and nothing has ended it yet.")
        } else {
            format!("An action has been older than its max_age for {seconds} s, and was not looked at yet.")
        }
    });
    calls.chain(end).collect()
}

/// Returns the first obstacle in the way of a transaction of a list, an action that failed before one whose calls fail;
/// or a participant that it waits for and that cannot be reached; none where there is none.
pub(super) fn of_list(view: &TxView, now: Timestamp, directory: &Directory) -> Vec<String> {
    let failing = view.failing.iter();
    let worst = failing.min_by_key(|action| action.status != ActionStatus::Failed);
    let sentence = worst.and_then(|action| {
        let is_open = action.status != ActionStatus::Failed;
        let down = || of_address(&action.participant, now, directory);
        // Its error, and for how long.
        if let Some(down) = is_open.then(down).flatten() {
            return Some(down);
        }
        // Many of them travel in one message.
        let error = &action.last_error[..action
            .last_error
            .floor_char_boundary(bounds::LIST_ERROR_BYTES)];
        sentence(&action.name, &action.participant, action.status, error)
    });
    let unreachable = || {
        let mut wants = view.tx.rest.iter().flat_map(|rest| &rest.wants);
        wants.find_map(|want| of_participant(&want.participant, now, directory))
    };
    let asked = || {
        let questions = questions(view, bounds::LIST_ERROR_BYTES, now, directory)?;
        let check_back = view.tx.spec.check_back.as_ref()?;
        let no_way = of_participant(&check_back.participant, now, directory);
        Some(no_way.map_or_else(
            || format!("{questions}."),
            |no_way| format!("{questions}. {no_way}"),
        ))
    };
    sentence
        .or_else(asked)
        .or_else(unreachable)
        .into_iter()
        .collect()
}

fn is_open(action: &ActionRow) -> bool {
    matches!(
        action.state.status,
        ActionStatus::Init | ActionStatus::Tried
    )
}

fn of_action(action: &ActionRow, now: Timestamp) -> Option<String> {
    let (spec, state) = (&action.spec, &action.state);
    if let Some(last) = state.attempts.last()
        && last.outcome == AttemptOutcome::Unreachable
        && is_open(action)
    {
        let since = now.since(Timestamp::from_micros(last.at)).as_secs();
        return Some(format!(
            "No {} of action {} could be sent to {} for {since} s: {}.",
            last.operation, spec.name, spec.participant, last.error
        ));
    }
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
            "Action {name} of {participant} is not done: {last_error}."
        )),
        _ => None,
    }
}

fn or<'a>(text: &'a str, instead: &'a str) -> &'a str {
    if text.is_empty() { instead } else { text }
}

fn of_participant(name: &str, now: Timestamp, directory: &Directory) -> Option<String> {
    let known = directory.snapshot();
    if let Some(what) = known.unreadable(name) {
        return Some(format!(
            "The row of participant {name} in participant_info cannot be read: {what}. Repair it, or register the \
             participant again; its calls wait until then."
        ));
    }
    let Some(participant) = known.get(name) else {
        return Some(format!(
            "Participant {name} is no longer known; let it attach, or register it."
        ));
    };
    if participant.protocol == Protocol::Attach {
        return (directory.attached(name) == 0)
            .then(|| format!("Participant {name} is not attached; its calls wait until it is."));
    }
    of_address(name, now, directory)
}

/// Returns a sentence about the address of a participant while it is down.
fn of_address(name: &str, now: Timestamp, directory: &Directory) -> Option<String> {
    let outage = directory.outage(name)?;
    let known = directory.snapshot();
    let participant = known.get(name)?;
    Some(format!(
        "Participant {name} has taken no call at {} for {} s ({}); its calls wait until it does.",
        participant.address,
        now.since(outage.since).as_secs(),
        outage.error
    ))
}
