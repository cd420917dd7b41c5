//! The initiator's client under lost replies, broken streams and dead coordinators.

#![allow(clippy::unwrap_used, missing_docs)]

mod coordinator_mock;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use coordinator_mock::{Mock, Say, committed, id_of, running, state};
use tercet_proto::v1::{self, BizStatus, TxStatus, session_reply::Reply, session_request::Request};
use tercet_sdk::initiator::{Action, Client, Decision, Error, Outcome};
use uuid::Uuid;

const SOON: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

fn refused(reason: &str, metadata: &[(&str, &str)]) -> Say {
    let pairs = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Say::Answer(Reply::Error(v1::Error {
        code: tonic::Code::FailedPrecondition.into(),
        reason: reason.to_owned(),
        message: "as told".to_owned(),
        metadata: pairs.collect(),
        violations: vec![v1::FieldViolation {
            field: "actions[0].name".to_owned(),
            description: "empty".to_owned(),
        }],
    }))
}

async fn client(mock: &Mock) -> Client {
    Client::connect([mock.address.clone()]).await.unwrap()
}

/// Waits for a condition on the mock, with a deadline.
async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

async fn unused_address() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_lost_reply_is_asked_for_again_with_the_same_bytes() {
    let mock = Mock::start(|stream, request| match stream {
        1 | 2 => Say::Break,
        _ => {
            let mut state = state(id_of(request), TxStatus::Success, BizStatus::Success, 3);
            state.repeated = true;
            Say::Answer(Reply::State(state))
        }
    })
    .await;
    let draft = client(&mock).await.execute("order", "1");
    let outcome = draft.action(Action::tcc("a", "p")).send().await.unwrap();
    assert!(outcome.is_committed());
    assert!(
        !outcome.is_repeated(),
        "a repetition of our own is none to the caller"
    );
    let requests = mock.requests();
    assert_eq!(requests.len(), 3);
    assert!(
        requests
            .iter()
            .all(|(_, request)| request.request == requests[0].1.request)
    );
    assert_eq!(
        id_of(requests[0].1.request.as_ref().unwrap()),
        outcome.tx_id().to_string()
    );
}

#[tokio::test]
async fn an_earlier_transaction_of_the_same_business_is_said_to_be_repeated() {
    let first = Uuid::now_v7();
    let mock = Mock::start(move |_, _| {
        let mut state = state(&first.to_string(), TxStatus::Success, BizStatus::Success, 3);
        state.repeated = true;
        Say::Answer(Reply::State(state))
    })
    .await;
    let client = client(&mock).await;
    let outcome = client
        .execute("order", "1")
        .unique_business()
        .send()
        .await
        .unwrap();
    assert!(outcome.is_repeated());
    assert_eq!(outcome.tx_id(), first);
}

#[tokio::test]
async fn a_dead_address_is_passed_over() {
    let mock = Mock::start(|_, request| committed(request)).await;
    let addresses = [unused_address().await, mock.address.clone()];
    let client = Client::connect(addresses).await.unwrap();
    assert!(
        client
            .execute("order", "1")
            .send()
            .await
            .unwrap()
            .is_committed()
    );
}

#[tokio::test]
async fn without_any_coordinator_nothing_was_sent() {
    let builder = Client::builder().address(unused_address().await);
    let client = builder.answer_within(SOON).connect_lazy().unwrap();
    let error = client.begin("order", "1").send().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { last, .. } if last.contains("refused")),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unknown_and_forgotten() {
    let mock = Mock::start(|_, _| Say::Nothing).await;
    let tx_id = Uuid::now_v7();
    let client = client(&mock).await;
    let draft = client.execute("order", "1").tx_id(tx_id);
    let error = draft.answer_within(SOON).send().await.unwrap_err();
    assert!(
        matches!(error, Error::OutcomeUnknown { tx_id: id, .. } if id == tx_id),
        "{error}"
    );
    until(|| mock.requests().len() == 2).await;
    let requests = mock.requests();
    assert_eq!(
        requests[1].1.request,
        Some(Request::Forget(requests[0].1.id))
    );
}

#[tokio::test]
async fn a_dropped_future_is_forgotten_and_makes_room() {
    let mock = Mock::start(|_, request| match id_of(request) {
        id if id.ends_with('0') => Say::Nothing,
        _ => committed(request),
    })
    .await;
    let builder = Client::builder().address(mock.address.clone());
    let client = builder.max_in_flight(1).connect().await.unwrap();
    let silent = Uuid::parse_str("01890000-0000-7000-8000-000000000000").unwrap();
    let answered = Uuid::parse_str("01890000-0000-7000-8000-000000000001").unwrap();
    let stuck = tokio::spawn(client.execute("order", "1").tx_id(silent).send());
    until(|| mock.requests().len() == 1).await;
    let next = tokio::spawn(client.execute("order", "2").tx_id(answered).send());
    tokio::task::yield_now().await;
    assert_eq!(mock.requests().len(), 1, "the second request has no place");
    stuck.abort();
    assert!(next.await.unwrap().unwrap().is_committed());
    let requests = mock.requests();
    assert_eq!(
        requests[1].1.request,
        Some(Request::Forget(requests[0].1.id))
    );
}

#[tokio::test]
async fn a_passing_refusal_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let passing = ["OVERLOADED", "DRAINING", "OUTCOME_UNKNOWN"];
    let mock =
        Mock::start(
            move |_, request| match passing.get(asked.fetch_add(1, Ordering::SeqCst)) {
                Some(reason) => refused(reason, &[]),
                None => committed(request),
            },
        )
        .await;
    let outcome = client(&mock)
        .await
        .execute("order", "1")
        .send()
        .await
        .unwrap();
    assert!(outcome.is_committed());
    assert_eq!(mock.requests().len(), 4);
}

#[tokio::test]
async fn a_refusal_names_the_fields() {
    let mock =
        Mock::start(|_, _| refused("INVALID_ARGUMENT", &[("field", "actions[0].name")])).await;
    let error = client(&mock)
        .await
        .execute("order", "1")
        .send()
        .await
        .unwrap_err();
    let Error::Refused(refused) = &error else {
        panic!("{error}")
    };
    assert_eq!(refused.reason, "INVALID_ARGUMENT");
    assert_eq!(
        refused.violations,
        [("actions[0].name".to_owned(), "empty".to_owned())]
    );
    let metadata = BTreeMap::from([("field".to_owned(), "actions[0].name".to_owned())]);
    assert_eq!(refused.metadata, metadata);
    assert_eq!(
        mock.requests().len(),
        1,
        "a definite refusal is not asked again"
    );
}

#[tokio::test]
async fn a_decision_conflict_names_the_decision_that_stands() {
    let mock = Mock::start(|_, request| match request {
        Request::Decide(_) => refused("DECISION_CONFLICT", &[("stands", "FAILURE")]),
        _ => running(request),
    })
    .await;
    let mut tx = client(&mock)
        .await
        .begin("order", "1")
        .send()
        .await
        .unwrap();
    let error = tx.commit().await.unwrap_err();
    let Error::DecisionConflict { tx_id, stands } = error else {
        panic!("{error}")
    };
    assert_eq!((tx_id, stands), (tx.id(), Decision::Failure));
}

#[tokio::test]
async fn a_dropped_live_transaction_is_rolled_back() {
    let mock = Mock::start(|_, request| running(request)).await;
    let client = client(&mock).await;
    let tx = client.begin("order", "1").send().await.unwrap();
    let tx_id = tx.id().to_string();
    drop(tx);
    until(|| mock.requests().len() == 2).await;
    let decide = mock.requests()[1].1.request.clone();
    let Some(Request::Decide(decide)) = decide else {
        panic!("{decide:?}")
    };
    assert_eq!(
        (decide.tx_id.as_str(), decide.outcome()),
        (&*tx_id, v1::Outcome::Failure)
    );
}

#[tokio::test]
async fn a_live_transaction_is_left_alone_once_a_decision_was_asked_for() {
    let mock = Mock::start(|_, request| match request {
        Request::Decide(_) => refused("SOMETHING_ELSE", &[]),
        _ => running(request),
    })
    .await;
    let client = client(&mock).await;
    let mut tx = client.begin("order", "1").send().await.unwrap();
    tx.commit().await.unwrap_err();
    drop(tx);
    client.begin("order", "2").send().await.unwrap().leave();
    // A request sent by a drop would arrive before this one.
    let Err(Error::Reply(_)) = client.outcome(Uuid::now_v7()).await else {
        panic!()
    };
    let decisions = mock.requests();
    let decisions = decisions
        .iter()
        .filter(|(_, r)| matches!(r.request, Some(Request::Decide(_))));
    assert_eq!(decisions.count(), 1);
}

#[tokio::test]
async fn an_answer_older_than_what_was_seen_is_discarded() {
    let mock = Mock::start(|_, request| {
        let id = id_of(request);
        let state = match request {
            Request::Decide(_) => state(id, TxStatus::Success, BizStatus::Success, 5),
            _ => state(id, TxStatus::ProcessWaiting, BizStatus::Init, 4),
        };
        Say::Answer(Reply::State(state))
    })
    .await;
    let mut tx = client(&mock)
        .await
        .begin("order", "1")
        .send()
        .await
        .unwrap();
    assert!(tx.commit().await.unwrap().is_committed());
    tx.add_action(Action::tcc("late", "p")).await.unwrap();
    assert_eq!(tx.latest().version(), 5);
    assert!(matches!(
        tx.latest(),
        Outcome::Committed { finished: true, .. }
    ));
}

#[tokio::test]
async fn requests_gather_into_batches() {
    const REQUESTS: usize = 5_000;
    let mock = Mock::start(|_, request| committed(request)).await;
    let client = client(&mock).await;
    let sending = (0..REQUESTS).map(|n| client.execute("order", n.to_string()).send());
    let outcomes = futures::future::join_all(sending).await;
    assert!(
        outcomes
            .into_iter()
            .all(|outcome| outcome.unwrap().is_committed())
    );
    assert_eq!(mock.requests().len(), REQUESTS);
    assert!(
        mock.messages() < REQUESTS / 50,
        "{} messages",
        mock.messages()
    );
}

#[tokio::test]
async fn a_watch_goes_on_after_a_break_and_never_back() {
    let at = |version, status: TxStatus, biz: BizStatus| v1::Transaction {
        version,
        status: status.into(),
        biz_status: biz.into(),
        ..v1::Transaction::default()
    };
    let mock = Mock::start_watched(
        |_, _| Say::Nothing,
        vec![
            vec![
                at(1, TxStatus::ProcessWaiting, BizStatus::Init),
                at(2, TxStatus::Processing, BizStatus::Success),
            ],
            vec![
                at(1, TxStatus::ProcessWaiting, BizStatus::Init),
                at(2, TxStatus::Processing, BizStatus::Success),
                at(3, TxStatus::Success, BizStatus::Success),
            ],
        ],
    )
    .await;
    let mut watch = client(&mock).await.watch(Uuid::now_v7());
    let mut versions = Vec::new();
    while let Some(transaction) = watch.next().await.unwrap() {
        versions.push(transaction.version);
    }
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test]
async fn every_future_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let mock = Mock::start(|_, _| Say::Nothing).await;
    let client = client(&mock).await;
    check(Client::connect(["http://127.0.0.1:1"]));
    check(client.execute("order", "1").send());
    check(client.begin("order", "1").send());
    check(client.outcome(Uuid::now_v7()));
    check(client.list(v1::ListRequest::default()));
    check(client.register(v1::RegisterRequest::default()));
    check(client.wait_known("p"));
    check(client.watch(Uuid::now_v7()).next());
}
