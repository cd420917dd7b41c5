//! The begin of a transaction, and the comparison of a repeated begin with the first.

use std::sync::Arc;

use crate::{
    limits,
    model::{Action, Begun, Cause, Decider, Moments, Outcome, Owner, Phase, Transaction, TxSpec},
    port::NewTransaction,
    time::Now,
    transition::decide,
    violation::At,
};

impl Transaction {
    /// Begins a transaction now. Where there is nothing to try it is decided at once.
    pub fn begin(new: &NewTransaction, owner: Owner, now: Now) -> Self {
        let begun = new.actions.iter().map(|spec| Begun {
            action: spec.name.clone(),
            participant: spec.participant.clone(),
            mode: spec.mode,
        });
        let timeout = new.timeout.unwrap_or(limits::TIMEOUT_DEFAULT);
        let spec = TxSpec {
            id: new.id,
            business_type: new.business_type.clone(),
            business_id: new.business_id.clone(),
            unique_business: new.unique_business,
            decider: new.decider,
            check_back: new.check_back.clone(),
            ext: new.ext.clone(),
            begun: begun.collect(),
            create_time: now.time,
            deadline: now.time + timeout,
            timeout_given: new.timeout.is_some(),
        };
        let actions = new
            .actions
            .iter()
            .map(|spec| Action::new(spec.clone(), new.decider))
            .collect();
        let mut tx = Self {
            spec: Arc::new(spec),
            phase: Phase::Trying,
            check_backs: 0,
            last_check_back: None,
            version: 0,
            owner,
            rest: None,
            actions,
            moments: Moments {
                due: now.moment + timeout,
                ages_from: now.moment,
            },
        };
        if new.decider == Decider::Coordinator && tx.is_tried() {
            decide(&mut tx, Outcome::Success, Cause::AllTried, now);
        }
        tx
    }

    /// Returns the path of the first field in which a begin differs from the one that made this transaction.
    ///
    /// The field `executed` distinguishes an Execute from a Begin. Every other path is that of the request, as in its
    /// violations: an Execute has the transaction in its field `begin`.
    pub fn first_difference(&self, new: &NewTransaction) -> Option<String> {
        let root = match new.decider {
            Decider::Coordinator => At::field("begin"),
            Decider::Initiator => At::field(""),
        };
        let spec = &self.spec;
        let fields = [
            ("business_type", spec.business_type == new.business_type),
            ("business_id", spec.business_id == new.business_id),
            (
                "unique_business",
                spec.unique_business == new.unique_business,
            ),
            ("executed", spec.decider == new.decider),
            ("timeout_ms", spec.is_same_timeout(new.timeout)),
            (
                "check_back",
                spec.is_same_check_back(new.check_back.as_ref()),
            ),
            ("ext_properties", spec.ext == new.ext),
            ("actions", spec.begun.len() == new.actions.len()),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, same)| !same) {
            return Some(match field {
                "executed" => field.to_owned(),
                field => root.of(field).to_string(),
            });
        }
        let pairs = self.actions.iter().zip(&new.actions).enumerate();
        pairs.into_iter().find_map(|(place, (begun, new))| {
            let field = begun.spec.first_difference(new)?;
            Some(root.index("actions", place).of(field).to_string())
        })
    }
}
