//! Operators' commands, and their log.

use tercet_proto::v1;

use crate::harness::{Server, done, rejected, tcc};

#[tokio::test]
async fn an_operators_commands_are_listed_in_the_transactions_log_oldest_first() {
    let server = Server::start().await;
    server
        .attach_answering("points", |call| match call.operation() {
            v1::Operation::Confirm => rejected("out of order"),
            _ => done(b""),
        })
        .await;
    let parked = server.execute([tcc("points")]).await;
    assert_eq!(parked.status(), v1::TxStatus::Failure);
    let tx_id = parked.tx_id;
    assert!(server.get(&tx_id).await.operator_log.is_empty());

    let retry = v1::RetryRequest {
        tx_id: tx_id.clone(),
        reason: "the service is back".to_owned(),
    };
    server.operator().retry(retry).await.unwrap();
    server.until_status(&tx_id, v1::TxStatus::Failure).await;
    let resolve = v1::ResolveRequest {
        tx_id: tx_id.clone(),
        actions: vec!["points".to_owned()],
        r#as: v1::ActionStatus::Confirmed.into(),
        reason: "confirmed by hand".to_owned(),
    };
    server.operator().resolve(resolve).await.unwrap();

    let tx = server.until_status(&tx_id, v1::TxStatus::Success).await;
    let log = tx.operator_log.iter().map(|entry| {
        let v1::OperatorEntry {
            at_micros,
            who,
            command,
            reason,
            before,
        } = entry;
        assert!(*at_micros > 0 && *at_micros <= tx.finished_at_micros);
        format!("{who} | {command} | {reason} | {before}")
    });
    assert_eq!(
        log.collect::<Vec<_>>(),
        [
            "local | RETRY | the service is back | FAILURE/SUCCESS; points FAILED",
            "local | RESOLVE points AS CONFIRMED | confirmed by hand | FAILURE/SUCCESS; points FAILED",
        ]
    );
}

#[tokio::test]
async fn a_call_that_was_never_sent_is_shown_as_such_with_the_handler_that_is_missing() {
    let server = Server::knowing(["points"]).await;
    let tx_id = server.hand_over([tcc("points")]).await;
    let is_noted = |tx: &v1::Transaction| !tx.actions[0].attempts.is_empty();
    let tx = server.until(&tx_id, is_noted).await;
    assert_eq!(tx.actions[0].attempts[0].number, 0, "it is no attempt");
    let obstacle = &tx.obstacles[0];
    assert!(
        obstacle.starts_with("No TRY of action points could be sent to points for "),
        "{obstacle}"
    );
    assert!(
        obstacle.ends_with(
            " s: there is no way to participant points: it is not attached, or without handler points."
        ),
        "{obstacle}"
    );
}
