//! Which rows are legal, and what an incarnation that did not write them takes them for.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{START, action, new_transaction, owner};
use tercet_core::{
    model::{ActionStatus, BizStatus, Cause, Driver, Mode, Operation, Sent, Transaction, TxStatus},
    row::{ActionInfoRow, TxRow},
};

fn rows() -> (TxRow, Vec<ActionInfoRow>) {
    let actions = vec![action("a", Mode::Tcc), action("b", Mode::Compensate)];
    let new = new_transaction(1, Driver::Coordinator, actions);
    let tx = Transaction::begin(&new, owner(1), START);
    let actions = tx.actions.iter().map(|action| ActionInfoRow {
        spec: (*action.spec).clone(),
        create_time: START,
        status: action.status,
        result: Bytes::new(),
        retry_count: 2,
        last_error: String::new(),
        attempts: Vec::new(),
        version: 1,
        finished_at: None,
    });
    let actions = actions.collect();
    let row = TxRow {
        spec: (*tx.spec).clone(),
        status: TxStatus::ProcessWaiting,
        biz_status: BizStatus::Init,
        cause: None,
        check_backs: 0,
        version: 1,
        owner: owner(1),
        waiting_for: None,
        next_attempt_at: Some(START),
        decided_at: None,
        finished_at: None,
    };
    (row, actions)
}

fn decided(status: TxStatus, biz_status: BizStatus) -> (TxRow, Vec<ActionInfoRow>) {
    let (mut tx, actions) = rows();
    tx.status = status;
    tx.biz_status = biz_status;
    tx.cause = Some(Cause::AllTried);
    tx.decided_at = Some(START);
    (tx, actions)
}

fn refused(tx: TxRow, actions: Vec<ActionInfoRow>) -> String {
    Transaction::from_rows(tx, actions).unwrap_err().to_string()
}

#[test]
fn every_pair_of_statuses_that_does_not_exist_is_named() {
    let mut legal = Vec::new();
    for &status in TxStatus::ALL {
        for &biz_status in BizStatus::ALL {
            let is_decided = matches!(biz_status, BizStatus::Success | BizStatus::Failure);
            let (mut tx, mut actions) = if is_decided {
                decided(status, biz_status)
            } else {
                rows()
            };
            (tx.status, tx.biz_status) = (status, biz_status);
            if status == TxStatus::Success {
                tx.finished_at = Some(START);
                for action in &mut actions {
                    action.status = ActionStatus::Confirmed;
                }
            }
            if matches!(status, TxStatus::Success | TxStatus::Failure) {
                tx.next_attempt_at = None;
            }
            tx.spec.check_back = Some(tercet_core::model::CheckBack {
                participant: "i".into(),
                first_delay: std::time::Duration::ZERO,
                interval: std::time::Duration::from_secs(1),
                max_interval: std::time::Duration::from_secs(1),
                max_attempts: None,
            });
            match Transaction::from_rows(tx, actions) {
                Ok(_) => legal.push(format!("{status}/{biz_status}")),
                Err(illegal) => assert!(illegal.to_string().contains("is not legal")),
            }
        }
    }
    assert_eq!(
        legal,
        [
            "PROCESS_WAITING/INIT",
            "PROCESS_WAITING/UNKNOWN",
            "PROCESSING/SUCCESS",
            "PROCESSING/FAILURE",
            "SUCCESS/SUCCESS",
            "SUCCESS/FAILURE",
            "FAILURE/SUCCESS",
            "FAILURE/FAILURE",
        ]
    );
}

#[test]
fn a_row_that_no_write_can_have_left_is_named() {
    let (mut tx, actions) = rows();
    tx.version = 0;
    assert!(refused(tx, actions).contains("version is 0"));
    let (mut tx, actions) = rows();
    tx.next_attempt_at = None;
    assert!(refused(tx, actions).contains("next_attempt_at"));
    let (tx, mut actions) = rows();
    actions[1].spec.after = vec!["nobody".into()];
    assert!(refused(tx, actions).contains("comes after nobody"));
    let (tx, mut actions) = rows();
    actions[0].status = ActionStatus::Confirmed;
    assert!(refused(tx, actions).contains("action a has status CONFIRMED"));
    let (tx, mut actions) = rows();
    actions.pop();
    assert!(refused(tx, actions).contains("1 actions, 2 begun"));
    let (mut tx, actions) = rows();
    tx.decided_at = Some(START);
    assert!(refused(tx, actions).contains("does not go with"));
}

#[test]
fn what_is_loaded_counts_as_sent_and_no_call_of_phase_two_is_authorised() {
    let (tx, actions) = decided(TxStatus::Processing, BizStatus::Failure);
    let tx = Transaction::from_rows(tx, actions).unwrap();
    for (place, action) in tx.actions.iter().enumerate() {
        assert_eq!(
            (action.live.sent, action.live.permit),
            (Sent::Perhaps, false)
        );
        assert_eq!(action.retry_count, 2, "attempts are counted on");
        assert_eq!(tx.needs(place), Some(Operation::Cancel));
    }
}

#[test]
fn an_action_that_was_not_written_at_the_decision_reads_as_tried() {
    let (tx, mut actions) = decided(TxStatus::Processing, BizStatus::Success);
    actions[1].status = ActionStatus::Confirmed;
    let tx = Transaction::from_rows(tx, actions).unwrap();
    assert_eq!(tx.actions[0].status, ActionStatus::Tried);
    assert_eq!(tx.needs(0), Some(Operation::Confirm));
    assert_eq!(tx.needs(1), None);
}
