//! The operation that each action still needs, and the actions that come before it.

use tercet_mutation::broken;

use super::{Action, ActionStatus, Mode, Operation, Outcome, Phase, Sent, Transaction};

impl Transaction {
    /// Returns the operation that this action still needs under the decision; `None` once it needs none.
    pub fn needs(&self, place: usize) -> Option<Operation> {
        let action = &self.actions[place];
        let outcome = self.phase.decision()?.outcome;
        let needed = match action.state.status {
            ActionStatus::Init | ActionStatus::Tried => true,
            // A rejection of the only Try that was ever sent left nothing behind.
            ActionStatus::Rejected => {
                outcome == Outcome::Failure
                    && action.live.sent != Sent::Once
                    && !broken("rejected_after_unknown_skips_cancel")
            }
            ActionStatus::Confirmed | ActionStatus::Cancelled | ActionStatus::Failed => false,
        };
        needed.then_some(match outcome {
            Outcome::Success => Operation::Confirm,
            Outcome::Failure => Operation::Cancel,
        })
    }

    /// Returns whether the action has reached a status in which it stays.
    pub(crate) fn is_final(&self, place: usize) -> bool {
        self.actions[place].state.status != ActionStatus::Failed && self.needs(place).is_none()
    }

    /// Returns whether every action has reached a status in which it stays.
    pub(crate) fn is_over(&self) -> bool {
        (0..self.actions.len()).all(|place| self.is_final(place))
    }

    /// Returns the operation that this action needs, once its turn has come.
    pub(crate) fn required_finish(&self, place: usize) -> Option<Operation> {
        let operation = self.needs(place)?;
        let free = self
            .places_before(place, operation)
            .all(|before| self.is_final(before));
        (free || broken("compensation_order_ignored")).then_some(operation)
    }

    /// Returns the call that this action requires in the present phase, once its turn has come: made by the coordinator,
    /// and repeated until it is answered.
    pub(crate) fn required_call(&self, place: usize) -> Option<Operation> {
        match self.phase {
            Phase::Trying if self.spec.is_executed() => self.required_try(place),
            Phase::Finishing { .. } => self.required_finish(place),
            _ => None,
        }
    }

    fn required_try(&self, place: usize) -> Option<Operation> {
        let action = &self.actions[place];
        let is_tried = |action: &Action| {
            action.spec.mode == Mode::Deliver || action.state.status == ActionStatus::Tried
        };
        let required = action.state.status == ActionStatus::Init
            && action.spec.mode != Mode::Deliver
            && self.actions_before(place, Operation::Try).all(is_tried);
        required.then_some(Operation::Try)
    }

    /// Returns whether an action is left that can be finished without a person.
    pub(crate) fn is_workable(&self) -> bool {
        let mut stuck: Vec<bool> = self
            .actions
            .iter()
            .map(|action| action.state.status == ActionStatus::Failed)
            .collect();
        // An action behind a stuck one is stuck; the longest chain has one link per action.
        for _ in 0..self.actions.len() {
            for place in 0..self.actions.len() {
                if let Some(operation) = self.needs(place) {
                    let behind = self
                        .places_before(place, operation)
                        .any(|before| stuck[before]);
                    stuck[place] = stuck[place] || behind;
                }
            }
        }
        (0..self.actions.len()).any(|place| self.needs(place).is_some() && !stuck[place])
    }

    /// Returns the actions that come before this one for this operation.
    pub(crate) fn actions_before(
        &self,
        place: usize,
        operation: Operation,
    ) -> impl Iterator<Item = &Action> + '_ {
        self.places_before(place, operation)
            .map(|before| &self.actions[before])
    }

    /// Returns the places of the actions that come before this one for this operation: Try and Confirm follow
    /// `after`, Cancel goes against it.
    fn places_before(
        &self,
        place: usize,
        operation: Operation,
    ) -> impl Iterator<Item = usize> + '_ {
        let action = &self.actions[place];
        let is_before = move |other: &Action| match operation {
            Operation::Try | Operation::Confirm => action.spec.after.contains(&other.spec.name),
            Operation::Cancel => other.spec.after.contains(&action.spec.name),
        };
        self.actions
            .iter()
            .enumerate()
            .filter_map(move |(place, other)| is_before(other).then_some(place))
    }
}
