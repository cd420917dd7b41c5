//! Operators in a world: they look at what is parked or being asked back, retry, resolve and decide,
//! and sometimes ask for what cannot be.

use std::time::Duration;

use tercet_core::{
    engine::{Request, Wait},
    id::TxId,
    model::{ActionStatus, Name, Outcome, Phase},
    time::Timestamp,
};

use super::{Event, Letter, World};
use crate::sim::{history::DAWN, judge::Asked, plan::FAULTS_END};

/// How often an operator looks.
const LOOKS: Duration = Duration::from_millis(1_500);
/// Operators go home that long after faults have ended.
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
            .filter(|line| line.row.status == ActionStatus::Failed)
            .map(|line| line.spec.name.clone())
            .collect();
        if asking {
            if self.dice.chance(60) {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                self.command(Request::OperatorDecide(
                    id,
                    outcome,
                    "the shop is gone".into(),
                ));
            }
        } else if self.dice.chance(700) {
            self.command(Request::Retry(id, "repaired".into()));
        } else {
            let status = *self
                .dice
                .pick(&[ActionStatus::Confirmed, ActionStatus::Cancelled]);
            self.command(Request::Resolve(id, failed, status, "by hand".into()));
        }
    }

    fn command(&mut self, request: Request) {
        let asked = match &request {
            Request::Decide(_, outcome, ..) => Asked::Decide(*outcome),
            Request::AddAction(_, action) => Asked::Add(action.name.clone()),
            _ => Asked::Operator,
        };
        self.send(Letter::Request {
            client: None,
            ticket: 0,
            asked,
            request,
        });
    }

    /// Somebody asks for something out of turn.
    fn meddle(&mut self) {
        let ids: Vec<TxId> = self.database.tables.rows().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *self.dice.pick(&ids);
        let reason = "out of turn".to_owned();
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
            0 => Request::Retry(id, reason),
            1 => Request::Resolve(id, vec!["a".into()], ActionStatus::Confirmed, reason),
            2 => {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                Request::OperatorDecide(id, outcome, reason)
            }
            // Of what is decided, either decision may be asked for: it changes nothing.
            3 if decided => {
                let outcome = *self.dice.pick(&[Outcome::Success, Outcome::Failure]);
                Request::Decide(id, outcome, reason, Wait::Accepted)
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
        if let Request::Begin(..) = request {
            self.send(Letter::Request {
                client: None,
                ticket: 0,
                asked: Asked::Begin,
                request,
            });
        } else {
            self.command(request);
        }
    }
}
