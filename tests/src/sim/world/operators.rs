//! Operators in a world: they look for transactions that are parked or being asked back, retry, resolve
//! and decide, and sometimes give commands out of turn.

use std::time::Duration;

use tercet_core::{
    id::TxId,
    model::{ActionStatus, Name, Outcome, Phase},
    port::{Command, Order, Request, Wait},
    refusal::Refusal,
    time::Timestamp,
    violation::Violation,
};

use super::{Event, Letter, World};
use crate::sim::{history::DAWN, judge::RequestKind, plan::FAULTS_END};

/// The interval at which an operator looks.
const LOOKS: Duration = Duration::from_millis(1_500);
/// The time after the end of faults at which operators stop.
const OVERTIME: Duration = Duration::from_secs(20);

impl World {
    pub(super) fn operator_looks(&mut self) {
        let home: Timestamp = DAWN + FAULTS_END + OVERTIME;
        if self.now < home {
            self.after(LOOKS, Event::Operator);
        }
        let stuck: Vec<TxId> = self
            .database
            .tables
            .rows()
            .filter(|(_, row)| {
                matches!(
                    row.head.phase,
                    Phase::Parked { .. } | Phase::AskingBack { .. }
                )
            })
            .map(|(id, _)| *id)
            .collect();
        if !stuck.is_empty() {
            let id = *self.dice.pick(&stuck);
            self.work_on(id);
        }
        if self.faults.on && self.dice.chance(400) {
            self.meddle();
        }
    }

    fn work_on(&mut self, id: TxId) {
        let Some(row) = self.database.tables.row(id) else {
            return;
        };
        let asking = matches!(row.head.phase, Phase::AskingBack { .. });
        let failed: Vec<Name> = row
            .actions
            .iter()
            .filter(|line| line.state.status == ActionStatus::Failed)
            .map(|line| line.spec.name.clone())
            .collect();
        if asking {
            if self.dice.chance(60) {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                self.operator(id, Order::Decide(outcome), "the shop is gone");
            }
        } else if self.dice.chance(700) {
            self.operator(id, Order::Retry, "repaired");
        } else {
            let status = *self
                .dice
                .pick(&[ActionStatus::Confirmed, ActionStatus::Cancelled]);
            let actions = failed;
            self.operator(id, Order::Resolve { actions, status }, "by hand");
        }
    }

    fn operator(&mut self, id: TxId, order: Order, reason: &str) {
        self.send_request(Request::Operator(id, command(order, reason)));
    }

    fn send_request(&mut self, request: Request) {
        let kind = Self::kind_of(&request);
        self.send(Letter::Request {
            client: None,
            ticket: 0,
            kind,
            request,
        });
    }

    fn kind_of(request: &Request) -> RequestKind {
        match request {
            Request::Begin(..) => RequestKind::Begin,
            Request::Decide(_, outcome, ..) => RequestKind::Decide(*outcome),
            Request::AddAction(_, action) => RequestKind::Add(action.name.clone()),
            Request::Operator(..) => RequestKind::Operator,
            Request::OnlyRepeated(request, _) => Self::kind_of(request),
        }
    }

    /// Makes a request out of turn.
    fn meddle(&mut self) {
        let ids: Vec<TxId> = self.database.tables.rows().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *self.dice.pick(&ids);
        let reason = "out of turn";
        let Some(client) = self.clients.iter().find(|client| client.plan.id() == id) else {
            return;
        };
        let plan = client.plan.clone();
        let decided = self
            .database
            .tables
            .row(id)
            .and_then(|row| row.head.phase.decision())
            .is_some();
        let request = match self.dice.below(6) {
            0 => Request::Operator(id, command(Order::Retry, reason)),
            1 => {
                let (actions, status) = (vec!["a".into()], ActionStatus::Confirmed);
                Request::Operator(id, command(Order::Resolve { actions, status }, reason))
            }
            2 => {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                Request::Operator(id, command(Order::Decide(outcome), reason))
            }
            // A decided transaction may be sent either decision: that changes nothing.
            3 if decided => {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                Request::Decide(id, outcome, reason.to_owned(), Wait::Accepted)
            }
            4 if decided => match plan.new.actions.first() {
                Some(action) => {
                    let mut late = (**action).clone();
                    late.name = "late".into();
                    late.after = Vec::new();
                    Request::AddAction(id, std::sync::Arc::new(late))
                }
                None => return,
            },
            _ => Request::Begin(plan.new.clone(), Wait::Completed),
        };
        // Its participants have lost the handlers since.
        let repeats = matches!(request, Request::Begin(..) | Request::AddAction(..));
        let request = if repeats && self.dice.chance(300) {
            let refusal = Refusal::HandlerUnknown {
                id,
                violations: vec![Violation::new(
                    "actions[0].handler",
                    "is not there any more",
                )],
            };
            Request::OnlyRepeated(Box::new(request), refusal)
        } else {
            request
        };
        self.send_request(request);
    }
}

fn command(order: Order, reason: &str) -> Command {
    Command {
        who: "ann".into(),
        reason: reason.to_owned(),
        order,
    }
}
