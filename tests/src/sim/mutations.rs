//! The code broken on purpose: one entry per place that asks [`tercet_mutation::broken`].

/// A way in which the code can be broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Its name in the code.
    pub name: &'static str,
    /// The mistake that it makes.
    pub what: &'static str,
}

const fn mutation(name: &'static str, what: &'static str) -> Mutation {
    Mutation { name, what }
}

/// Every mutation of the core and the barrier.
pub const MUTATIONS: &[Mutation] = &[
    mutation(
        "absent_never_too_old",
        "an action whose participant stays away is not given up at its age",
    ),
    mutation(
        "action_rows_without_transaction",
        "rows of action_info are written without the tx_info row that fences them",
    ),
    mutation(
        "ages_from_the_decision_alone",
        "an operator's retry does not let the ages of the actions count anew",
    ),
    mutation(
        "attempts_reset_on_load",
        "a loaded action has made no attempts",
    ),
    mutation(
        "attempts_reset_on_take_over",
        "a transaction that is taken in hand counts its calls anew",
    ),
    mutation(
        "barrier_stores_phase_two_rejection",
        "a Confirm or Cancel that the code rejects leaves a row REJECTED",
    ),
    mutation(
        "check_back_without_row",
        "a check-back answers FAILURE without the initiator's row",
    ),
    mutation(
        "closed_call_left_to_leave",
        "a call that is closed without an answer stays in the queue of its stream",
    ),
    mutation(
        "compensation_order_ignored",
        "Confirm does not follow `after`, and Cancel does not go against it",
    ),
    mutation(
        "confirm_before_decision_durable",
        "Confirm and Cancel leave while the decision is being written",
    ),
    mutation(
        "deadline_judged_early",
        "every check of the deadline finds it passed",
    ),
    mutation(
        "effects_released_before_write_held",
        "callers are answered while the write is under way",
    ),
    mutation(
        "empty_cancel_leaves_no_row",
        "a Cancel of what was not tried leaves no row to fence a late Try",
    ),
    mutation("fence_skipped", "a Try runs although its Cancel came first"),
    mutation(
        "in_flight_action_not_cancelled",
        "an action whose Try is under way at a FAILURE is taken as untried",
    ),
    mutation(
        "unsent_forgets_earlier_tries",
        "a Try that was never taken makes earlier ones count as never sent",
    ),
    mutation(
        "jump_ahead_ends_phase_one",
        "a stored time is read by the clock of the present, though that has jumped since",
    ),
    mutation(
        "late_result_matched_by_call_id",
        "an answer counts if its call id is open, whatever else it names",
    ),
    mutation(
        "live_starves_table",
        "of two places that come free none is for what waits in the table",
    ),
    mutation(
        "loaded_action_taken_as_unsent",
        "the Try of a loaded INIT action counts as never sent",
    ),
    mutation(
        "measure_never_renewed",
        "a participant that has failed often gets no call any more",
    ),
    mutation(
        "one_participant_fills_memory",
        "any number of calls wait in memory for a participant's place",
    ),
    mutation(
        "own_orphan_never_reloaded",
        "due rows are read at the start only",
    ),
    mutation(
        "probe_never_leaves",
        "a registered address that took no call gets none any more",
    ),
    mutation(
        "rejected_after_unknown_skips_cancel",
        "a REJECTED that is not the answer to the only Try needs no Cancel",
    ),
    mutation(
        "rest_keeps_permit",
        "a call that was allowed and not made counts as made at rest",
    ),
    mutation(
        "rest_names_one_participant",
        "a transaction at rest waits for one participant of those that it wants",
    ),
    mutation(
        "restart_loads_beyond_window",
        "a page of due rows is as long as memory has room, not as its participant has",
    ),
    mutation(
        "routed_without_handler",
        "a call goes to any instance of its participant",
    ),
    mutation(
        "rows_of_a_wrong_clock_left",
        "rows that stand in the future are not looked into after the clock went back",
    ),
    mutation(
        "timers_follow_the_database",
        "what is waited for takes its time by the database's clock",
    ),
    mutation(
        "standstill_counts_as_silence",
        "a time in which the process stood still counts as one in which the database did not answer",
    ),
    mutation(
        "unknown_commit_taken_as_failed",
        "a commit of unknown outcome counts as not applied",
    ),
    mutation(
        "unknown_commit_taken_as_held",
        "a commit of unknown outcome counts as applied",
    ),
    mutation(
        "unsent_call_counted",
        "a Confirm or Cancel that found no connection uses up its permit",
    ),
    mutation(
        "unsent_trusted_in_hand",
        "an action that another incarnation had in hand counts as not called where no attempt is noted",
    ),
    mutation(
        "unserved_refused_unread",
        "a begin of handlers that are gone is refused before it is known whether it repeats one",
    ),
    mutation(
        "waiter_pins_row",
        "a transaction stays in memory for as long as a caller waits",
    ),
    mutation(
        "version_check_dropped",
        "a write does not look at the version it expects",
    ),
    mutation(
        "write_in_doubt_given_up",
        "callers are told that a write was not applied though it may have been",
    ),
];

/// Returns the mutation with this name.
pub fn find(name: &str) -> Option<Mutation> {
    MUTATIONS
        .iter()
        .copied()
        .find(|mutation| mutation.name == name)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::MUTATIONS;

    fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                names_in(&path, names);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let calls = source.split("broken(\"").skip(1);
                names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
    }

    #[test]
    fn the_table_names_every_mutation_of_the_code_and_no_other() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut in_code = BTreeSet::new();
        names_in(&root.join("coordinator/core/src"), &mut in_code);
        names_in(&root.join("participant-sdk/rust/barrier/src"), &mut in_code);
        let in_table: BTreeSet<String> = MUTATIONS.iter().map(|m| m.name.to_owned()).collect();
        assert_eq!(in_code, in_table);
    }
}
