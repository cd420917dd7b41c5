//! The table of the barrier, cell by cell.

use super::{
    Arrival, CallAnswer, Mode, Operation, Row, RowState, Stored, Verdict, after_run, decide,
    expired,
    initiator::{CheckBack, Truth, decide_check_back},
};
use std::time::Duration;

const MODES: [Mode; 3] = [Mode::Tcc, Mode::Compensate, Mode::Deliver];
const OPERATIONS: [Operation; 3] = [Operation::Try, Operation::Confirm, Operation::Cancel];
const FENCED: &str = "fenced: the action is already cancelled";

fn arrival(mode: Mode, operation: Operation) -> Arrival {
    Arrival {
        mode,
        operation,
        external: false,
        expired: false,
    }
}

fn row(state: RowState) -> Row {
    Row {
        state,
        result: b"frozen".to_vec(),
        rejection: match state {
            RowState::Rejected => "sold out".to_owned(),
            RowState::Running => "CONFIRM".to_owned(),
            _ => String::new(),
        },
    }
}

fn ok() -> Verdict {
    Verdict::Answer(CallAnswer::done())
}

fn stored() -> Verdict {
    Verdict::Answer(CallAnswer::Done(b"frozen".to_vec()))
}

fn no(reason: &str) -> Verdict {
    Verdict::Answer(CallAnswer::Rejected(reason.to_owned()))
}

fn run(then: RowState) -> Verdict {
    Verdict::Run { then }
}

fn unfinished() -> Verdict {
    let words = "the code of an earlier CONFIRM ended the local transaction itself, so its effect may \
                 be there in part: put it right by hand, then the row's state";
    Verdict::Answer(CallAnswer::Unknown(words.to_owned()))
}

/// The whole table for the modes with a Try. The columns: absent, TRYING, TRIED, CONFIRMED,
/// CANCELLED, REJECTED, RUNNING.
fn table() -> [(Operation, [Verdict; 7]); 3] {
    use RowState::{Cancelled, Confirmed, Tried};
    [
        (
            Operation::Try,
            [
                run(Tried),
                run(Tried),
                stored(),
                stored(),
                no(FENCED),
                no("sold out"),
                unfinished(),
            ],
        ),
        (
            Operation::Confirm,
            [
                no("nothing was tried"),
                no("its Try has not ended"),
                run(Confirmed),
                ok(),
                no("already cancelled"),
                no("its Try was rejected"),
                unfinished(),
            ],
        ),
        (
            Operation::Cancel,
            [
                Verdict::Empty { leave: Cancelled },
                run(Cancelled),
                run(Cancelled),
                no("already confirmed"),
                ok(),
                ok(),
                unfinished(),
            ],
        ),
    ]
}

fn check_table(mode: Mode) {
    let columns = [None].into_iter().chain(RowState::ALL.map(Some));
    for (operation, cells) in table() {
        if (mode, operation) == (Mode::Compensate, Operation::Confirm) {
            continue;
        }
        for (state, cell) in columns.clone().zip(cells) {
            let found = state.map(row);
            let verdict = decide(arrival(mode, operation), found.as_ref());
            assert_eq!(verdict, cell, "{mode:?} {operation:?} on {state:?}");
        }
    }
}

#[test]
fn the_table_of_tcc() {
    check_table(Mode::Tcc);
}

#[test]
fn the_table_of_compensate() {
    check_table(Mode::Compensate);
}

#[test]
fn deliver_runs_its_confirm_once() {
    let confirm = arrival(Mode::Deliver, Operation::Confirm);
    assert_eq!(decide(confirm, None), run(RowState::Confirmed));
    assert_eq!(decide(confirm, Some(&row(RowState::Confirmed))), ok());
}

#[test]
fn an_operation_that_a_mode_does_not_have_is_unknown() {
    let missing = [
        (Mode::Deliver, Operation::Try),
        (Mode::Deliver, Operation::Cancel),
        (Mode::Compensate, Operation::Confirm),
    ];
    for (mode, operation) in missing {
        for found in [None]
            .into_iter()
            .chain(RowState::ALL.map(|state| Some(row(state))))
        {
            let verdict = decide(arrival(mode, operation), found.as_ref());
            assert!(
                matches!(verdict, Verdict::Answer(CallAnswer::Unknown(_))),
                "{mode:?} {operation:?} on {found:?}: {verdict:?}"
            );
        }
    }
}

#[test]
fn an_external_action_announces_its_try_and_nothing_else() {
    for mode in MODES {
        for operation in OPERATIONS {
            for found in [None]
                .into_iter()
                .chain(RowState::ALL.map(|state| Some(row(state))))
            {
                let plain = decide(arrival(mode, operation), found.as_ref());
                let external = Arrival {
                    external: true,
                    ..arrival(mode, operation)
                };
                let verdict = decide(external, found.as_ref());
                if operation == Operation::Try && mode != Mode::Deliver && found.is_none() {
                    assert_eq!(verdict, Verdict::Announce);
                } else {
                    assert_eq!(verdict, plain, "{mode:?} {operation:?} on {found:?}");
                }
            }
        }
    }
}

#[test]
fn without_a_row_an_expired_transaction_is_unknown_and_with_one_it_is_not() {
    for mode in MODES {
        for operation in OPERATIONS {
            let late = Arrival {
                expired: true,
                ..arrival(mode, operation)
            };
            let verdict = decide(late, None);
            assert!(
                matches!(verdict, Verdict::Answer(CallAnswer::Unknown(_))),
                "{mode:?} {operation:?}: {verdict:?}"
            );
            for state in RowState::ALL {
                let found = row(state);
                assert_eq!(
                    decide(late, Some(&found)),
                    decide(arrival(mode, operation), Some(&found))
                );
            }
        }
    }
}

#[test]
fn a_row_expires_after_its_retention() {
    let retention = Duration::from_millis(100);
    assert!(!expired(1_000, 1_099, retention));
    assert!(expired(1_000, 1_100, retention));
    assert!(
        !expired(2_000, 1_000, retention),
        "an id from a clock that is ahead is not old"
    );
}

fn check_after_run() {
    let rejected = CallAnswer::Rejected("short of points".to_owned());
    let done = CallAnswer::Done(b"new".to_vec());
    let found = row(RowState::Tried);
    for operation in OPERATIONS {
        let then = RowState::Confirmed;
        let stored = |outcome: &CallAnswer| after_run(operation, then, Some(&found), outcome);
        assert_eq!(
            stored(&CallAnswer::Unknown("?".to_owned())),
            Stored::Nothing
        );
        let result = if operation == Operation::Try {
            &b"new"[..]
        } else {
            b"frozen"
        };
        let effect = Row {
            result: result.to_vec(),
            ..Row::new(then)
        };
        assert_eq!(stored(&done), Stored::WithEffect(effect), "{operation:?}");
        let refused = if operation == Operation::Try {
            let rejection = "short of points".to_owned();
            Stored::WithoutEffect(Row {
                rejection,
                ..Row::new(RowState::Rejected)
            })
        } else {
            Stored::Nothing
        };
        assert_eq!(stored(&rejected), refused, "{operation:?}");
    }
}

#[test]
fn only_a_trys_rejection_is_stored() {
    check_after_run();
}

fn check_check_back() {
    assert_eq!(decide_check_back(None, false), CheckBack::InsertFailure);
    assert_eq!(decide_check_back(None, true), CheckBack::Expired);
    for truth in [Truth::Success, Truth::Failure] {
        for expired in [false, true] {
            assert_eq!(
                decide_check_back(Some(truth), expired),
                CheckBack::Answer(truth)
            );
        }
    }
}

#[test]
fn a_check_back_answers_what_the_row_says_or_makes_it_failure() {
    check_check_back();
}

#[test]
fn stored_words_are_read_back() {
    for state in RowState::ALL {
        assert_eq!(RowState::parse(state.as_str()), Some(state));
    }
    for truth in [Truth::Success, Truth::Failure] {
        assert_eq!(Truth::parse(truth.as_str()), Some(truth));
    }
    assert_eq!(RowState::parse("tried"), None);
    assert_eq!(Truth::parse(""), None);
}

/// Each mutation fails one of the tables; without a mutation all pass.
#[cfg(feature = "mutations")]
#[test]
fn every_mutation_is_noticed() {
    let everything = || {
        check_table(Mode::Tcc);
        check_table(Mode::Compensate);
        check_after_run();
        check_check_back();
    };
    tercet_mutation::with(None, everything);
    for mutation in [
        "fence_skipped",
        "barrier_stores_phase_two_rejection",
        "empty_cancel_leaves_no_row",
        "check_back_without_row",
    ] {
        let noticed =
            std::panic::catch_unwind(|| tercet_mutation::with(Some(mutation), everything));
        assert!(noticed.is_err(), "nothing noticed the mutation {mutation}");
    }
}
