//! How a transaction begins, and when a second begin is the same begin.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use crate::{
    engine::NewTransaction,
    limits,
    model::{
        Action, ActionSpec, ActionStatus, Begun, Cause, Driver, Live, Mode, Name, Outcome, Owner,
        Phase, Sent, Transaction, TxSpec,
    },
    time::Timestamp,
    transition::decide,
};

impl Transaction {
    /// The transaction that `new` begins now. Where there is nothing to try it is decided at once.
    pub fn begin(new: &NewTransaction, owner: Owner, now: Timestamp) -> Self {
        let begun = new.actions.iter().map(|spec| Begun {
            action: spec.name.clone(),
            participant: spec.participant.clone(),
            mode: spec.mode,
        });
        let spec = TxSpec {
            id: new.id,
            business_type: new.business_type.clone(),
            business_id: new.business_id.clone(),
            unique_business: new.unique_business,
            driver: new.driver,
            check_back: new.check_back.clone(),
            ext: new.ext.clone(),
            begun: begun.collect(),
            create_time: now,
            deadline: now + new.timeout,
        };
        let actions = new
            .actions
            .iter()
            .map(|spec| Action::new(spec.clone(), new.driver))
            .collect();
        let mut tx = Self {
            spec: Arc::new(spec),
            phase: Phase::Trying,
            check_backs: 0,
            version: 0,
            owner,
            waiting_for: None,
            next_attempt_at: None,
            actions,
        };
        if new.driver == Driver::Coordinator && tx.is_tried() {
            decide(&mut tx, Outcome::Success, Cause::AllTried, now);
        }
        tx
    }

    /// Whether every action that has a Try has answered it with OK.
    pub fn is_tried(&self) -> bool {
        self.actions
            .iter()
            .all(|a| a.spec.mode == Mode::Deliver || a.status == ActionStatus::Tried)
    }

    /// The path of the first field in which a begin differs from the one that made this transaction.
    pub fn first_difference(&self, new: &NewTransaction) -> Option<String> {
        let spec = &self.spec;
        let fields = [
            ("business_type", spec.business_type == new.business_type),
            ("business_id", spec.business_id == new.business_id),
            (
                "unique_business",
                spec.unique_business == new.unique_business,
            ),
            (
                "way of beginning (Begin or Execute)",
                spec.driver == new.driver,
            ),
            ("timeout_ms", spec.timeout() == new.timeout),
            ("check_back", spec.check_back == new.check_back),
            ("ext_properties", spec.ext == new.ext),
            (
                "actions (their number)",
                spec.begun.len() == new.actions.len(),
            ),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, same)| !same) {
            return Some(field.to_owned());
        }
        let pairs = self.actions.iter().zip(&new.actions).enumerate();
        pairs.into_iter().find_map(|(place, (begun, new))| {
            let field = begun.spec.first_difference(new)?;
            Some(format!("actions[{place}].{field}"))
        })
    }
}

impl Action {
    /// An action that nobody has written yet.
    pub fn new(spec: Arc<ActionSpec>, driver: Driver) -> Self {
        let status = if spec.already_tried {
            ActionStatus::Tried
        } else {
            ActionStatus::Init
        };
        let sent = match driver {
            Driver::Coordinator if !spec.already_tried => Sent::Never,
            _ => Sent::Perhaps,
        };
        Self {
            spec,
            status,
            result: Bytes::new(),
            retry_count: 0,
            last_error: String::new(),
            attempts: Vec::new(),
            version: 0,
            finished_at: None,
            live: Live {
                sent,
                ..Live::new()
            },
        }
    }

    /// Sets the status in which the action ends.
    pub(crate) fn end(&mut self, status: ActionStatus, now: Timestamp) {
        self.status = status;
        self.finished_at = Some(now);
        self.live.dirty = true;
    }
}

impl Live {
    /// Nothing is known, nothing may be called.
    pub fn new() -> Self {
        Self {
            sent: Sent::Perhaps,
            permit: false,
            unreachable: false,
            not_before: Timestamp::default(),
            tries: 0,
            rejections: 0,
            dirty: false,
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl ActionSpec {
    /// The first field in which another action of the same place or name differs.
    pub fn first_difference(&self, other: &Self) -> Option<&'static str> {
        let fields = [
            ("name", self.name == other.name),
            ("mode", self.mode == other.mode),
            ("participant", self.participant == other.participant),
            ("handler", self.handler == other.handler),
            ("payload", self.payload == other.payload),
            ("after", self.after == other.after),
            ("wants_results", self.wants_results == other.wants_results),
            ("already_tried", self.already_tried == other.already_tried),
            ("retry", self.retry == other.retry),
            ("ext_properties", self.ext == other.ext),
        ];
        fields
            .into_iter()
            .find(|(_, same)| !same)
            .map(|(field, _)| field)
    }
}

/// Why a set of actions cannot be one transaction: the path of the field, and what is wrong.
pub fn check_order(actions: &[Arc<ActionSpec>]) -> Result<(), (String, String)> {
    let names: BTreeSet<&Name> = actions.iter().map(|action| &action.name).collect();
    for (place, action) in actions.iter().enumerate() {
        let mut seen = BTreeSet::new();
        for (entry, before) in action.after.iter().enumerate() {
            let field = format!("actions[{place}].after[{entry}]");
            if before == &action.name {
                return Err((field, "an action cannot come after itself".into()));
            }
            if !names.contains(before) {
                return Err((field, format!("no action is called {before:?}")));
            }
            if !seen.insert(before) {
                return Err((field, format!("{before:?} is named twice")));
            }
        }
    }
    // Take away what comes after nothing that is left; what cannot be taken away goes in a circle.
    let mut left: Vec<&Arc<ActionSpec>> = actions.iter().collect();
    for _ in 0..limits::ACTIONS {
        let names: BTreeSet<&Name> = left.iter().map(|action| &action.name).collect();
        left.retain(|action| action.after.iter().any(|before| names.contains(before)));
    }
    match left.first() {
        None => Ok(()),
        Some(action) => {
            let place = actions
                .iter()
                .position(|a| a.name == action.name)
                .unwrap_or_default();
            Err((
                format!("actions[{place}].after"),
                "the order goes in a circle".into(),
            ))
        }
    }
}
