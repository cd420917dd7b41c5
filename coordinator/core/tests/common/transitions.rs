//! Transactions in each phase, and events.

use std::time::Duration;

use super::{START, at, command, new_transaction, ok, owner, rejected, tcc};
use tercet_core::{
    context::Context,
    model::{CheckBack, Decider, Mode, Need, Outcome, Sent, Transaction},
    port::{CallAnswer, CheckBackAnswer, Order},
    transition::{CallEnd, Event, Step, Unreachable, transition},
};

pub fn cx() -> Context {
    Context {
        now: START + Duration::from_secs(1),
        moment: at(START).moment + Duration::from_secs(1),
        dice: 1,
        hold: Duration::from_secs(5),
    }
}

pub fn after_deadline() -> Context {
    Context {
        now: START + Duration::from_secs(30),
        moment: at(START).moment + Duration::from_secs(30),
        ..cx()
    }
}

pub fn check_back() -> CheckBack {
    CheckBack {
        participant: "initiator".into(),
        first_delay: Some(Duration::ZERO),
        interval: Some(Duration::from_secs(1)),
        max_interval: Some(Duration::from_secs(8)),
        max_attempts: None,
    }
}

/// A begun transaction of one TCC action whose Try the coordinator sent, or the initiator's.
pub fn begun(decider: Decider) -> Transaction {
    let mut new = new_transaction(1, decider, [tcc("a")]);
    if decider == Decider::Initiator {
        new.check_back = Some(check_back());
    }
    let mut tx = Transaction::begin(&new, owner(1), at(START));
    tx.version = 1;
    tx.actions[0].state.version = 1;
    tx.actions[0].live.sent = Sent::Perhaps;
    tx
}

pub fn step(tx: &Transaction, event: &Event, cx: &Context) -> Step {
    transition(tx, event, cx).unwrap()
}

/// Returns the transaction after an event before the deadline.
pub fn next(tx: &Transaction, event: &Event) -> Transaction {
    step(tx, event, &cx()).next
}

pub fn decide(outcome: Outcome) -> Event {
    Event::Decide {
        outcome,
        reason: "r".into(),
    }
}

pub fn end(answer: CallAnswer) -> CallEnd {
    CallEnd {
        action: 0,
        answer,
        sent_at: START,
        took: Duration::from_secs(1),
        rejections_to_believe: 1,
    }
}

/// The event that puts a transaction to rest while there is no way to its participant.
pub fn rest() -> Event {
    Event::Rest {
        unreachable: vec![Unreachable {
            participant: "p".into(),
            need: Need::Handler("a".into(), Mode::Tcc),
            down: None,
        }],
    }
}

/// The event that there is no way to the participant of an action that is too old.
pub fn too_old() -> Event {
    match rest() {
        Event::Rest { unreachable } => Event::TooOld {
            actions: (0..).zip(unreachable).collect(),
        },
        other => other,
    }
}

pub fn asked_in_vain() -> Event {
    Event::AskedBack(CheckBackAnswer::Unknown("?".into()))
}

pub fn operator(order: Order) -> Event {
    Event::Operator(command(order))
}

/// One transaction in each phase, in the order of the table's columns.
pub fn phases() -> Vec<(&'static str, Transaction)> {
    let initiators = begun(Decider::Initiator);
    let asking = step(&initiators, &Event::TimePassed, &after_deadline()).next;
    let confirming = next(&initiators, &decide(Outcome::Success));
    let cancelling = next(&initiators, &decide(Outcome::Failure));
    let finished = next(&confirming, &Event::FinishEnded(end(ok())));
    let parked = next(&confirming, &Event::FinishEnded(end(rejected())));
    vec![
        ("trying/coordinator", begun(Decider::Coordinator)),
        ("trying/initiator", initiators),
        ("asking back", asking),
        ("confirming", confirming),
        ("cancelling", cancelling),
        ("finished", finished),
        ("parked", parked),
    ]
}

pub fn phase(name: &str) -> Transaction {
    let found = phases().into_iter().find(|(phase, _)| *phase == name);
    found.unwrap().1
}

/// Returns the transaction as an incarnation reads it that did not write it.
pub fn loaded(tx: &Transaction) -> Transaction {
    let mut rows = super::rows::Rows::default();
    rows.insert(tx.clone());
    rows.transaction(tx.id())
}
