//! The ways through a transaction, over unary calls and over a session.

use std::time::Duration;

use tercet_proto::v1::{self, session_reply::Reply, session_request::Request};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{
    Attached, PATIENCE, Server, action, begin, done, execute, quick, reason, rejected,
};

#[tokio::test]
async fn an_execute_of_two_actions_commits() {
    let server = Server::start().await;
    let points = Attached::new(&server, "points", 10).await;
    let _points = points.answering(|_| Some(done(b"frozen")));
    let coupons = Attached::new(&server, "coupons", 10).await;
    let _coupons = coupons.answering(|_| Some(done(b"")));

    let wanted = execute(
        vec![action("spend", "points"), action("issue", "coupons")],
        v1::Wait::Completed,
    );
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();

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
    let points = Attached::new(&server, "points", 10).await;
    let _points = points.answering(|_| Some(done(b"")));
    let coupons = Attached::new(&server, "coupons", 10).await;
    let _coupons = coupons.answering(|call| match call.operation() {
        v1::Operation::Try => Some(rejected("sold out")),
        _ => Some(done(b"")),
    });

    let wanted = execute(
        vec![action("spend", "points"), action("issue", "coupons")],
        v1::Wait::Completed,
    );
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();

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
    let points = Attached::new(&server, "points", 10).await;
    let _points = points.answering(|_| Some(done(b"")));
    let mut client = server.coordinator();

    let state = client.begin(begin(Vec::new())).await.unwrap().into_inner();
    assert_eq!(state.biz_status(), v1::BizStatus::Init);
    let add = v1::AddActionRequest {
        tx_id: state.tx_id.clone(),
        action: Some(action("spend", "points")),
    };
    let added = client.add_action(add.clone()).await.unwrap().into_inner();
    assert_eq!(added.actions.len(), 1);
    assert!(client.add_action(add).await.unwrap().into_inner().repeated);
    let decide = |outcome: v1::Outcome| v1::DecideRequest {
        tx_id: state.tx_id.clone(),
        outcome: outcome.into(),
        reason: "paid".to_owned(),
        wait: v1::Wait::Completed.into(),
    };
    let decided = client
        .decide(decide(v1::Outcome::Success))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(decided.status(), v1::TxStatus::Success);
    assert!(
        client
            .decide(decide(v1::Outcome::Success))
            .await
            .unwrap()
            .into_inner()
            .repeated
    );
    let conflict = client
        .decide(decide(v1::Outcome::Failure))
        .await
        .unwrap_err();
    assert_eq!(reason(&conflict).0, "DECISION_CONFLICT");
}

#[tokio::test]
async fn a_session_carries_many_requests_at_once() {
    let server = Server::start().await;
    let points = Attached::new(&server, "points", 100).await;
    let _points = points.answering(|_| Some(done(b"")));
    let (send, requests) = mpsc::channel(4);
    let mut client = server.coordinator();
    let mut replies = client
        .session(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();

    let mut batch: Vec<_> = (0..20)
        .map(|id| v1::SessionRequest {
            id,
            request: Some(Request::Execute(execute(
                vec![action("spend", "points")],
                v1::Wait::Completed,
            ))),
        })
        .collect();
    // One that is wrong, one that nobody has, one without a request.
    batch.push(v1::SessionRequest {
        id: 100,
        request: Some(Request::Execute(execute(Vec::new(), v1::Wait::Decided))),
    });
    batch.push(v1::SessionRequest {
        id: 101,
        request: Some(Request::Get(v1::GetRequest {
            tx_id: uuid::Uuid::now_v7().to_string(),
            ..v1::GetRequest::default()
        })),
    });
    batch.push(v1::SessionRequest {
        id: 102,
        request: None,
    });
    send.send(v1::SessionRequests { requests: batch })
        .await
        .unwrap();

    let mut answers = std::collections::BTreeMap::new();
    while answers.len() < 23 {
        let reply = timeout(PATIENCE, replies.message())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        for reply in reply.replies {
            assert!(answers.insert(reply.id, reply.reply.unwrap()).is_none());
        }
    }
    for id in 0..20 {
        match &answers[&id] {
            Reply::State(state) => assert_eq!(state.status(), v1::TxStatus::Success),
            other => panic!("{other:?}"),
        }
    }
    let error = |id: u64| match &answers[&id] {
        Reply::Error(error) => (error.reason.clone(), error.violations.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(error(100).0, "INVALID_ARGUMENT");
    assert_eq!(error(100).1[0].field, "begin.actions");
    assert_eq!(error(101).0, "TX_NOT_FOUND");
    assert_eq!(error(102).1[0].field, "request");
}

#[tokio::test]
async fn a_request_id_that_is_still_open_is_refused_until_it_is_forgotten() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 100).await;
    let (send, requests) = mpsc::channel(4);
    let mut client = server.coordinator();
    let mut replies = client
        .session(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    let ask = |request: Request| v1::SessionRequests {
        requests: vec![v1::SessionRequest {
            id: 7,
            request: Some(request),
        }],
    };
    let wanted = || {
        Request::Execute(execute(
            vec![action("spend", "points")],
            v1::Wait::Completed,
        ))
    };

    send.send(ask(wanted())).await.unwrap();
    let _never_answered = points.call().await;
    send.send(ask(wanted())).await.unwrap();
    let reply = timeout(PATIENCE, replies.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    match reply.replies.into_iter().next().unwrap().reply.unwrap() {
        Reply::Error(error) => assert_eq!(error.reason, "REQUEST_ID_OPEN"),
        other => panic!("{other:?}"),
    }
    send.send(ask(Request::Forget(7))).await.unwrap();
    send.send(ask(wanted())).await.unwrap();
    let _asked_again = points.call().await;
}

#[tokio::test]
async fn a_watch_shows_states_in_order_until_the_end() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 10).await;
    let wanted = execute(vec![action("spend", "points")], v1::Wait::Accepted);
    let state = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner();
    let watch = v1::WatchRequest { tx_id: state.tx_id };
    let mut states = server
        .coordinator()
        .watch(watch)
        .await
        .unwrap()
        .into_inner();
    let first = states.message().await.unwrap().unwrap();
    assert_eq!(first.biz_status(), v1::BizStatus::Init);
    for _ in 0..2 {
        let call = points.call().await;
        points.answer(&call, done(b"")).await;
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
    let points = Attached::new(&server, "points", 10).await;
    let _points = points.answering(|_| Some(done(b"")));
    let mut client = server.coordinator();
    for order in 0..5 {
        let mut wanted = execute(vec![action("spend", "points")], v1::Wait::Completed);
        let begin = wanted.begin.as_mut().unwrap();
        begin.business_id = format!("order-{order}");
        client.execute(wanted).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = v1::ListRequest {
            business_type: "points_for_coupon".to_owned(),
            statuses: vec![v1::TxStatus::Success.into()],
            participant: "points".to_owned(),
            younger_than_ms: 3_600_000,
            page_size: 2,
            cursor,
            ..v1::ListRequest::default()
        };
        let page = client.list(page).await.unwrap().into_inner();
        seen.extend(page.transactions.into_iter().map(|tx| tx.business_id));
        cursor = page.next_cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(
        seen,
        ["order-4", "order-3", "order-2", "order-1", "order-0"]
    );
    let none = v1::ListRequest {
        stuck: true,
        ..v1::ListRequest::default()
    };
    assert!(
        client
            .list(none)
            .await
            .unwrap()
            .into_inner()
            .transactions
            .is_empty()
    );
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_its_transaction() {
    let server = Server::start().await;
    let mut points = Attached::new(&server, "points", 10).await;
    let mut wanted = execute(vec![action("spend", "points")], v1::Wait::Completed);
    let tx_id = uuid::Uuid::now_v7().to_string();
    wanted.begin.as_mut().unwrap().tx_id.clone_from(&tx_id);
    let mut client = server.coordinator();
    let call = tokio::select! {
        call = points.call() => call,
        _ = client.execute(wanted) => panic!("nothing was tried yet"),
    };
    assert_eq!(call.tx_id, tx_id);
    points.answer(&call, done(b"")).await;
    let confirm = timeout(Duration::from_secs(10), points.call())
        .await
        .unwrap();
    points.answer(&confirm, done(b"")).await;
    server
        .until(&tx_id, |tx| tx.status() == v1::TxStatus::Success)
        .await;
}

#[tokio::test]
async fn a_dead_participant_is_in_the_way() {
    let server = Server::start().await;
    drop(Attached::new(&server, "points", 1).await);
    let mut spend = action("spend", "points");
    spend.retry = Some(quick(3));
    let wanted = execute(vec![spend], v1::Wait::Accepted);
    let tx_id = server
        .coordinator()
        .execute(wanted)
        .await
        .unwrap()
        .into_inner()
        .tx_id;
    let tx = server.until(&tx_id, |tx| !tx.obstacles.is_empty()).await;
    assert!(
        tx.obstacles[0].contains("points is not attached"),
        "{:?}",
        tx.obstacles
    );
}
