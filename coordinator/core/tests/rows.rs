//! The rows that are legal, and the transaction that an incarnation which did not write them makes of them.

#![allow(clippy::unwrap_used)]

mod common;

use common::{START, compensate, new_transaction, owner, tcc};
use tercet_core::{
    model::{
        ActionState, ActionStatus, BizStatus, Cause, CheckBack, Decider, Operation, Rest, Sent,
        Transaction, TxStatus,
    },
    row::{ActionRow, TxRow},
};

type Rows = (TxRow, Vec<ActionRow>);

/// The rows of a transaction in phase one, with actions `a` and `b`.
fn trying() -> Rows {
    let new = new_transaction(1, Decider::Coordinator, [tcc("a"), compensate("b")]);
    let tx = Transaction::begin(&new, owner(1), common::at(START));
    let actions = tx.actions.iter().map(|action| ActionRow {
        spec: (*action.spec).clone(),
        create_time: START,
        state: ActionState {
            retry_count: 2,
            version: 1,
            ..action.state.clone()
        },
    });
    let actions = actions.collect();
    let row = TxRow {
        spec: (*tx.spec).clone(),
        status: TxStatus::ProcessWaiting,
        biz_status: BizStatus::Init,
        cause: None,
        check_backs: 0,
        last_check_back: None,
        version: 1,
        owner: owner(1),
        rest: None,
        unparked_at: None,
        decided_at: None,
        finished_at: None,
    };
    (row, actions)
}

fn decided(status: TxStatus, biz_status: BizStatus) -> Rows {
    let (mut tx, actions) = trying();
    tx.status = status;
    tx.biz_status = biz_status;
    tx.cause = Some(Cause::AllTried);
    tx.decided_at = Some(START);
    (tx, actions)
}

/// Rows with this pair of statuses, and with everything else as it fits the two best.
fn with_statuses(status: TxStatus, biz_status: BizStatus) -> Rows {
    let (mut tx, mut actions) = match biz_status {
        BizStatus::Success | BizStatus::Failure => decided(status, biz_status),
        BizStatus::Init | BizStatus::Unknown => trying(),
    };
    (tx.status, tx.biz_status) = (status, biz_status);
    if status == TxStatus::Success {
        tx.finished_at = Some(START);
        for action in &mut actions {
            action.state.status = ActionStatus::Confirmed;
        }
    }
    if status == TxStatus::Failure {
        actions[0].state.status = ActionStatus::Failed;
        actions[1].state.status = ActionStatus::Confirmed;
    }
    tx.spec.check_back = Some(CheckBack::of("i".into()));
    (tx, actions)
}

/// The table in `ARCHITECTURE.md`, "States": rows are `status`, columns `biz_status`.
const STATUSES: &str = "
                | INIT    | UNKNOWN | SUCCESS | FAILURE
PROCESS_WAITING | legal   | legal   | illegal | illegal
PROCESSING      | illegal | illegal | legal   | legal
SUCCESS         | illegal | illegal | legal   | legal
FAILURE         | illegal | illegal | legal   | legal
";

#[test]
fn every_pair_of_statuses_that_does_not_exist_is_named() {
    let mut lines = common::table(STATUSES);
    let columns = lines.next().unwrap();
    let mut pairs = 0;
    for line in lines {
        let status = TxStatus::from_word(line[0]).unwrap();
        for (column, expected) in columns.iter().zip(&line).skip(1) {
            let biz_status = BizStatus::from_word(column).unwrap();
            let (tx, actions) = with_statuses(status, biz_status);
            let found = match Transaction::from_rows(tx, actions) {
                Ok(_) => "legal",
                Err(illegal) => {
                    assert!(illegal.to_string().contains("is not legal"));
                    "illegal"
                }
            };
            assert_eq!(found, *expected, "{status}/{biz_status}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, TxStatus::ALL.len() * BizStatus::ALL.len());
}

#[test]
fn a_row_that_no_write_can_have_left_is_named() {
    let check = |error: &str, change: fn(&mut TxRow, &mut Vec<ActionRow>)| {
        let (mut tx, mut actions) = trying();
        change(&mut tx, &mut actions);
        let illegal = Transaction::from_rows(tx, actions).unwrap_err().to_string();
        assert!(illegal.contains(error), "{illegal}");
    };
    check("version is 0", |tx, _| tx.version = 0);
    check("neither a participant nor a time", |tx, _| {
        tx.rest = Some(Box::default());
    });
    check("rest does not go with status FAILURE", |tx, _| {
        let (parked, _) = decided(TxStatus::Failure, BizStatus::Failure);
        let rest = Rest {
            until: Some(START),
            ..Rest::default()
        };
        *tx = TxRow {
            rest: Some(Box::new(rest)),
            ..parked
        };
    });
    check("comes after nobody", |_, actions| {
        actions[1].spec.after = vec!["nobody".into()];
    });
    check("action a has status CONFIRMED", |_, actions| {
        actions[0].state.status = ActionStatus::Confirmed;
    });
    check("1 actions, 2 begun", |_, actions| actions.truncate(1));
    check("does not go with", |tx, _| tx.decided_at = Some(START));
    check("action b has version 0", |_, actions| {
        actions[1].state.version = 0;
    });
    check("version is 4294967295, at most 1073741824", |tx, _| {
        tx.version = u32::MAX;
    });
    check("retry_count is 1073741825", |tx, _| {
        tx.check_backs = (1 << 30) + 1;
    });
    check("action a: version is", |_, actions| {
        actions[0].state.version = u32::MAX;
    });
    check("action b: retry_count is", |_, actions| {
        actions[1].state.retry_count = u32::MAX;
    });
    check(
        "action a: payload has 65537 bytes, at most 65536",
        |_, actions| {
            actions[0].spec.payload = vec![0; 65_537].into();
        },
    );
    check("action a: result has 65537 bytes", |_, actions| {
        actions[0].state.result = vec![0; 65_537].into();
    });
    check("action a: handler is empty", |_, actions| {
        actions[0].spec.handler = "".into();
    });
    check("action a: handler has 100000 bytes", |_, actions| {
        actions[0].spec.handler = "h".repeat(100_000).into();
    });
    check("business_id has 129 bytes", |tx, _| {
        tx.spec.business_id = "b".repeat(129).into();
    });
    check("UNKNOWN without check_back_info", |tx, _| {
        tx.biz_status = BizStatus::Unknown;
    });
}

/// Each status of the actions `a` and `b`, with those of the transaction under which it is legal: `G` goes on, `P` is
/// parked, `D` is done.
const ACTIONS: &str = "
a \\ SUCCESS | INIT | TRIED | CONFIRMED | CANCELLED | REJECTED | FAILED
INIT         | G    | G     | G         | G         |          | G
TRIED        | G    | G     | G         | G         |          | G
CONFIRMED    | G    | G     | D         | D         |          | P
CANCELLED    | G    | G     | D         | D         |          | P
REJECTED     |      |       |           |           |          |
FAILED       | G    | G     | P         | P         |          | P
a \\ FAILURE | INIT | TRIED | CONFIRMED | CANCELLED | REJECTED | FAILED
INIT         | G    | G     | G         | G         | G        | G
TRIED        | G    | G     | G         | G         | G        | G
CONFIRMED    | G    | G     | D         | D         | D        | P
CANCELLED    | G    | G     | D         | D         | D        | P
REJECTED     | G    | G     | D         | D         | D        | P
FAILED       | G    | G     | P         | P         | P        | P
";

#[test]
fn a_decided_transaction_goes_on_as_long_as_an_action_can_be_called() {
    let mut cells = 0;
    let mut columns = Vec::new();
    let mut outcome = BizStatus::Success;
    for line in common::table(ACTIONS) {
        if let Some(word) = line[0].strip_prefix("a \\ ") {
            outcome = BizStatus::from_word(word).unwrap();
            columns = line[1..].to_vec();
            continue;
        }
        for (column, expected) in columns.iter().zip(&line[1..]) {
            let legal = [
                ("G", TxStatus::Processing),
                ("P", TxStatus::Failure),
                ("D", TxStatus::Success),
            ]
            .into_iter()
            .filter(|(_, status)| {
                let (mut tx, mut actions) = with_statuses(*status, outcome);
                tx.rest = None;
                for (action, word) in actions.iter_mut().zip([line[0], column]) {
                    action.state.status = ActionStatus::from_word(word).unwrap();
                    action.state.finished_at = Some(START);
                }
                Transaction::from_rows(tx, actions).is_ok()
            });
            let legal: String = legal.map(|(letter, _)| letter).collect();
            assert_eq!(legal, *expected, "{outcome}: {} and {column}", line[0]);
            cells += 1;
        }
    }
    assert_eq!(cells, 2 * ActionStatus::ALL.len() * ActionStatus::ALL.len());
}

#[test]
fn a_loaded_action_counts_as_sent_and_no_call_of_phase_two_is_authorised() {
    let (tx, actions) = decided(TxStatus::Processing, BizStatus::Failure);
    let tx = Transaction::from_rows(tx, actions).unwrap();
    for (place, action) in tx.actions.iter().enumerate() {
        assert_eq!(
            (action.live.sent, action.live.permit),
            (Sent::Perhaps, false)
        );
        assert_eq!(action.state.retry_count, 2, "attempts are counted on");
        assert_eq!(tx.needs(place), Some(Operation::Cancel));
    }
}

#[test]
fn an_action_that_was_not_written_at_the_decision_reads_as_tried() {
    let (tx, mut actions) = decided(TxStatus::Processing, BizStatus::Success);
    actions[1].state.status = ActionStatus::Confirmed;
    let tx = Transaction::from_rows(tx, actions).unwrap();
    assert_eq!(tx.actions[0].state.status, ActionStatus::Tried);
    assert_eq!(tx.needs(0), Some(Operation::Confirm));
    assert_eq!(tx.needs(1), None);
}
