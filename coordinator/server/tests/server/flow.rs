//! The ways through a transaction, over unary calls.

use tercet_proto::v1;
use tokio::time::timeout;

use crate::harness::{
    PATIENCE, Server, action, begin, done, execute, of_order, quick, refusal, rejected, tcc,
};

#[tokio::test]
async fn an_execute_of_two_actions_commits() {
    let server = Server::start().await;
    server.attach_answering("points", |_| done(b"frozen")).await;
    server.attach_agreeing(["coupons"]).await;

    let state = server.execute([tcc("points"), tcc("coupons")]).await;

    assert_eq!(state.status(), v1::TxStatus::Success);
    assert_eq!(state.biz_status(), v1::BizStatus::Success);
    assert_eq!(state.cause.unwrap().kind(), v1::CauseKind::AllTried);
    assert_eq!(state.actions[0].result.as_ref(), b"frozen");
    let tx = server
        .until(&state.tx_id, |tx| tx.finished_at_micros != 0)
        .await;
    assert!(tx.obstacles.is_empty());
    let statuses: Vec<_> = tx.actions.iter().map(v1::ActionView::status).collect();
    assert_eq!(
        statuses,
        [v1::ActionStatus::Confirmed, v1::ActionStatus::Confirmed]
    );
}

#[tokio::test]
async fn a_rejected_try_rolls_back() {
    let server = Server::start().await;
    server.attach_agreeing(["points"]).await;
    server
        .attach_answering("coupons", |call| match call.operation() {
            v1::Operation::Try => rejected("sold out"),
            _ => done(b""),
        })
        .await;

    let state = server
        .execute([tcc("points"), action("issue", "coupons")])
        .await;

    assert_eq!(state.status(), v1::TxStatus::Success);
    assert_eq!(state.biz_status(), v1::BizStatus::Failure);
    let cause = state.cause.unwrap();
    assert_eq!(
        (cause.action.as_str(), cause.reason.as_str()),
        ("issue", "sold out")
    );
}

#[tokio::test]
async fn an_initiator_begins_adds_and_decides() {
    let server = Server::start().await;
    server.attach_agreeing(["points"]).await;
    let state = server.begin(begin([])).await;
    assert_eq!(state.biz_status(), v1::BizStatus::Init);
    let add = || async {
        let request = v1::AddActionRequest {
            tx_id: state.tx_id.clone(),
            action: Some(tcc("points")),
        };
        let added = server.coordinator().add_action(request).await;
        added.unwrap().into_inner()
    };
    assert_eq!(add().await.actions.len(), 1);
    assert!(add().await.repeated);
    let decide = |outcome: v1::Outcome| {
        let request = v1::DecideRequest {
            tx_id: state.tx_id.clone(),
            outcome: outcome.into(),
            reason: "paid".to_owned(),
            wait: v1::Wait::Completed.into(),
        };
        let mut client = server.coordinator();
        async move {
            client
                .decide(request)
                .await
                .map(tonic::Response::into_inner)
        }
    };
    let decided = decide(v1::Outcome::Success).await.unwrap();
    assert_eq!(decided.status(), v1::TxStatus::Success);
    assert!(decide(v1::Outcome::Success).await.unwrap().repeated);
    let opposite = decide(v1::Outcome::Failure).await;
    assert_eq!(refusal(opposite), "DECISION_CONFLICT");
}

#[tokio::test]
async fn a_watch_shows_states_in_order_until_the_end() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let tx_id = server.hand_over([tcc("points")]).await;
    let watch = server.coordinator().watch(v1::WatchRequest { tx_id }).await;
    let mut states = watch.unwrap().into_inner();
    let first = states.message().await.unwrap().unwrap();
    assert_eq!(first.biz_status(), v1::BizStatus::Init);
    for operation in [v1::Operation::Try, v1::Operation::Confirm] {
        points.agree_to(operation).await;
    }
    let mut last = first.clone();
    while let Some(state) = timeout(PATIENCE, states.message()).await.unwrap().unwrap() {
        assert!(state.version > last.version);
        last = state;
    }
    assert_eq!(last.status(), v1::TxStatus::Success);
}

#[tokio::test]
async fn a_list_filters_and_turns_its_pages() {
    let server = Server::start().await;
    server.attach_agreeing(["points"]).await;
    for order in 0..5 {
        let request = of_order(&format!("order-{order}"), tcc("points"));
        server.carry_out(request).await;
    }
    let list = |request: v1::ListRequest| {
        let mut client = server.coordinator();
        async move { client.list(request).await.unwrap().into_inner() }
    };
    let mut orders = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = list(v1::ListRequest {
            business_type: "points_for_coupon".to_owned(),
            statuses: vec![v1::TxStatus::Success.into()],
            participant: "points".to_owned(),
            younger_than_ms: 3_600_000,
            page_size: 2,
            cursor,
            ..v1::ListRequest::default()
        })
        .await;
        orders.extend(page.transactions.into_iter().map(|tx| tx.business_id));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(
        orders,
        ["order-4", "order-3", "order-2", "order-1", "order-0"]
    );
    let stuck = v1::ListRequest {
        stuck: true,
        ..v1::ListRequest::default()
    };
    assert!(list(stuck).await.transactions.is_empty());
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_its_transaction() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let mut request = execute([tcc("points")], v1::Wait::Completed);
    let tx_id = uuid::Uuid::now_v7().to_string();
    request.begin.as_mut().unwrap().tx_id = tx_id.clone();
    let mut client = server.coordinator();
    let call = tokio::select! {
        call = points.call() => call,
        _ = client.execute(request) => panic!("nothing was tried yet"),
    };
    assert_eq!(call.tx_id, tx_id);
    points.answer(&call, done(b"")).await;
    points.agree_to(v1::Operation::Confirm).await;
    server.until_status(&tx_id, v1::TxStatus::Success).await;
}

#[tokio::test]
async fn a_participant_that_is_gone_is_an_obstacle() {
    let server = Server::knowing(["points"]).await;
    let spend = v1::Action {
        retry: Some(quick(3)),
        ..tcc("points")
    };
    let tx_id = server.hand_over([spend]).await;
    let tx = server.until(&tx_id, |tx| !tx.obstacles.is_empty()).await;
    assert!(
        tx.obstacles[1].contains("points is not attached"),
        "{:?}",
        tx.obstacles
    );
}

/// A transaction at rest names every participant that it waits for, and goes on with any of them.
#[tokio::test]
async fn a_transaction_goes_on_with_each_participant_that_comes_back() {
    let server = Server::knowing(["coupons", "points"]).await;
    let begun = server.begin(begin([tcc("points"), tcc("coupons")])).await;
    let decide = v1::DecideRequest {
        tx_id: begun.tx_id.clone(),
        outcome: v1::Outcome::Success.into(),
        ..v1::DecideRequest::default()
    };
    server.coordinator().decide(decide).await.unwrap();
    let waits = |names: &'static str| move |tx: &v1::Transaction| tx.waiting_for == names;
    let tx = server.until(&begun.tx_id, waits("coupons, points")).await;
    assert_ne!(tx.next_attempt_at_micros, 0);

    // While its next step is under way it waits for nothing.
    let mut points = server.attach("points").await;
    let confirm = points.call().await;
    let tx = server.get(&begun.tx_id).await;
    assert_eq!((&*tx.waiting_for, tx.next_attempt_at_micros), ("", 0));
    points.answer(&confirm, done(b"")).await;
    let tx = server.until(&begun.tx_id, waits("coupons")).await;
    let status = |tx: &v1::Transaction| [tx.actions[0].status(), tx.actions[1].status()];
    let expected = [v1::ActionStatus::Confirmed, v1::ActionStatus::Init];
    assert_eq!(status(&tx), expected);

    let mut coupons = server.attach("coupons").await;
    coupons.agree_to(v1::Operation::Confirm).await;
    let tx = server
        .until_status(&begun.tx_id, v1::TxStatus::Success)
        .await;
    assert_eq!((&*tx.waiting_for, tx.next_attempt_at_micros), ("", 0));
}
