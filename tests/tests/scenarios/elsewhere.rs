//! The cases in which coordinators go wrong elsewhere.

use std::{sync::Arc, time::Duration};

use sqlx::{SqliteConnection, SqlitePool};
use tercet_sdk::{
    ActionError, Barrier, Call, CallInterceptor, Next, Outcome, Participant, Sqlite, TccAction,
    initiator::{Action, Decision, Error, Outcome as End, Wait},
    participant::ParticipantBuilder,
    proto::{
        self, ActionStatus, Operation, attach_reply, attach_request,
        participants_client::ParticipantsClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::world::{Gate, SOON, World, compensate, deliver, done, scripted, soon, statuses, tcc};

#[tokio::test]
async fn a_second_decide_while_the_first_is_being_confirmed() {
    // given a transaction whose Confirm takes its time
    let mut world = World::new().await;
    let gate = Gate::closed();
    let points = world
        .participant("points", {
            let gate = gate.clone();
            move |_| {
                let gate = gate.clone();
                async move {
                    gate.wait().await;
                    done("")
                }
            }
        })
        .await;
    let initiator = world.initiator().await;
    let mut tx = initiator
        .begin("exchange", "1")
        .action(tcc("freeze", "points"))
        .send()
        .await
        .unwrap();
    let first = tx.commit().await.unwrap();
    points.wait_for("freeze", Operation::Confirm).await;

    // when it is decided again, alike and otherwise
    let again = initiator
        .decide(tx.id(), Decision::Success, "", Wait::Decided)
        .await
        .unwrap();
    let otherwise = initiator
        .decide(tx.id(), Decision::Failure, "", Wait::Decided)
        .await
        .unwrap_err();

    // then the decision stands, and one Confirm was called
    assert!(first.is_committed() && again.is_committed());
    assert!(
        matches!(
            otherwise,
            Error::DecisionConflict {
                stands: Decision::Success,
                ..
            }
        ),
        "{otherwise}"
    );
    gate.open();
    world.finished(tx.id()).await;
    assert_eq!(points.words(), ["freeze CONFIRM"]);
}

#[tokio::test]
async fn decide_without_begin() {
    let world = World::new().await;
    let initiator = world.initiator().await;
    let id = Uuid::now_v7();

    let refused = initiator
        .decide(id, Decision::Success, "", Wait::Decided)
        .await
        .unwrap_err();

    assert_eq!(refused.reason(), Some("TX_NOT_FOUND"));
    let read = initiator.get(id).await.unwrap_err();
    assert_eq!(read.reason(), Some("TX_NOT_FOUND"), "nothing was written");
}

#[tokio::test]
async fn ids_and_names_of_which_one_is_a_prefix_of_the_other() {
    let mut world = World::new().await;
    let short = world.willing("pay").await;
    let long = world.willing("pay-back").await;
    let initiator = world.initiator().await;
    let order = |business_type: &str, business_id: &str| {
        initiator
            .execute(business_type, business_id)
            .unique_business()
            .action(compensate("a", "pay"))
            .action(compensate("ab", "pay-back"))
            .wait(Wait::Completed)
    };

    // "o" + "rder-1", "o" + "rder-10", "or" + "der-1": three businesses, not one
    let ids = [("o", "rder-1"), ("o", "rder-10"), ("or", "der-1")];
    let mut transactions = Vec::new();
    for (business_type, business_id) in ids {
        let outcome = order(business_type, business_id).send().await.unwrap();
        assert!(outcome.is_committed() && !outcome.is_repeated());
        transactions.push(outcome.tx_id());
    }

    assert_eq!(short.words(), ["a TRY"; 3]);
    assert_eq!(long.words(), ["ab TRY"; 3]);
    for ((business_type, business_id), id) in ids.into_iter().zip(transactions) {
        let found = initiator
            .get_business(business_type, business_id)
            .await
            .unwrap();
        assert_eq!(found.tx_id, id.to_string());
        let list = initiator
            .list(proto::ListRequest {
                business_type: business_type.to_owned(),
                business_id: business_id.to_owned(),
                ..proto::ListRequest::default()
            })
            .await
            .unwrap();
        assert_eq!(list.transactions.len(), 1);
    }
}

#[tokio::test]
async fn a_participant_is_down_through_the_whole_of_phase_two() {
    // given a transaction whose participant has gone after its Try
    let mut world = World::new().await;
    let (points, seen) = scripted("points", |_| async { done("") });
    let points = points.build().unwrap();
    let attached = world.attach_task(points.clone()).await;
    let mut tx = world
        .initiator()
        .await
        .begin("exchange", "1")
        .action(tcc("freeze", "points").retry(soon().max_attempts(2)))
        .send()
        .await
        .unwrap();
    attached.abort();
    world.is_attached("points", false).await;

    // when it is decided
    let outcome = tx.commit().await.unwrap();

    // then it waits, says for whom, and no attempt is counted
    assert!(outcome.is_committed() && !outcome.is_finished());
    let waiting = world
        .until(tx.id(), "waiting for points", |tx| !tx.obstacles.is_empty())
        .await;
    assert!(
        waiting
            .obstacles
            .iter()
            .any(|obstacle| obstacle.contains("points")),
        "{:?}",
        waiting.obstacles
    );
    assert_eq!(waiting.actions[0].retry_count, 0);
    assert_eq!(seen.words(), [""; 0]);

    // and goes on when the participant is back
    world.attach(points).await;
    let tx = world.finished(tx.id()).await;
    assert_eq!(seen.words(), ["freeze CONFIRM"]);
    assert_eq!(tx.actions[0].retry_count, 0, "{:?}", tx.actions[0].attempts);
}

/// Freezes points of a real table, behind the barrier.
struct Freeze;

impl TccAction<Sqlite> for Freeze {
    type Request = ();
    type Response = ();

    async fn try_(&self, tx: &mut SqliteConnection, _: &Call<()>) -> Result<(), ActionError> {
        move_points(
            tx,
            "UPDATE account SET available = available - 1, frozen = frozen + 1",
        )
        .await
    }

    async fn confirm(&self, tx: &mut SqliteConnection, _: &Call<()>) -> Result<(), ActionError> {
        move_points(
            tx,
            "UPDATE account SET frozen = frozen - 1, spent = spent + 1",
        )
        .await
    }

    async fn cancel(&self, tx: &mut SqliteConnection, _: &Call<()>) -> Result<(), ActionError> {
        move_points(
            tx,
            "UPDATE account SET available = available + 1, frozen = frozen - 1",
        )
        .await
    }
}

async fn move_points(tx: &mut SqliteConnection, how: &'static str) -> Result<(), ActionError> {
    sqlx::query(how).execute(tx).await?;
    Ok(())
}

/// An account of ten points, its barrier, and what it holds.
struct Account {
    pool: SqlitePool,
    _folder: tempfile::TempDir,
}

impl Account {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = demo_service::open(&folder.path().join("points.db"))
            .await
            .unwrap();
        sqlx::query("CREATE TABLE account (available INTEGER, frozen INTEGER, spent INTEGER)")
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query("INSERT INTO account VALUES (10, 0, 0)")
            .execute(&pool)
            .await
            .unwrap();
        Barrier::new(pool.clone()).create_table().await.unwrap();
        Self {
            pool,
            _folder: folder,
        }
    }

    fn participant(&self) -> ParticipantBuilder<Barrier<Sqlite>> {
        Participant::builder("points")
            .barrier(Barrier::new(self.pool.clone()))
            .tcc("freeze", Freeze)
    }

    async fn holds(&self) -> (i64, i64, i64) {
        sqlx::query_as("SELECT available, frozen, spent FROM account")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

/// Holds every Try back until the gate opens, and tells what came of it then.
struct LateTry {
    gate: Gate,
    answered: mpsc::UnboundedSender<Outcome>,
}

#[tonic::async_trait]
impl CallInterceptor for LateTry {
    async fn around(&self, call: &proto::Call, next: Next<'_>) -> Outcome {
        if call.operation() != Operation::Try {
            return next.run().await;
        }
        self.gate.wait().await;
        let outcome = next.run().await;
        let _ = self.answered.send(outcome.clone());
        outcome
    }
}

#[tokio::test]
async fn a_try_that_arrives_after_its_cancel_has_no_effect() {
    // given a Try that is on its way for longer than phase one
    let mut world = World::new().await;
    let account = Account::open().await;
    let gate = Gate::closed();
    let (answered, mut answers) = mpsc::unbounded_channel();
    let late = LateTry {
        gate: gate.clone(),
        answered,
    };
    let points = account.participant().interceptor(Arc::new(late));
    world.attach(points.build().unwrap()).await;

    // when the deadline has decided, and the Cancel has come first
    let outcome = world
        .initiator()
        .await
        .execute("exchange", "1")
        .action(
            Action::tcc("freeze", "points").retry(soon().call_timeout(Duration::from_millis(200))),
        )
        .timeout(Duration::from_millis(400))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();
    assert_eq!(outcome.decision(), Some(Decision::Failure));

    // then the late Try is refused, and nothing was frozen
    gate.open();
    while let Ok(late) = tokio::time::timeout(Duration::from_secs(1), answers.recv()).await {
        let late = late.unwrap();
        assert!(!matches!(late, Outcome::Done(_)), "{late:?}");
    }
    assert_eq!(account.holds().await, (10, 0, 0));
}

#[tokio::test]
async fn two_confirms_at_once_take_effect_once() {
    let account = Account::open().await;
    let participant = account.participant().build().unwrap();
    let id = Uuid::now_v7();
    let call = |operation: Operation| proto::Call {
        tx_id: id.to_string(),
        action: "freeze".to_owned(),
        operation: operation.into(),
        mode: proto::Mode::Tcc.into(),
        participant: "points".to_owned(),
        handler: "freeze".to_owned(),
        ..proto::Call::default()
    };
    participant.call(call(Operation::Try)).await;
    assert_eq!(account.holds().await, (9, 1, 0));

    let confirms = (0..8).map(|_| participant.call(call(Operation::Confirm)));
    let answers = futures::future::join_all(confirms).await;

    for answer in answers {
        assert!(
            matches!(answer.outcome, Some(proto::result::Outcome::Done(_))),
            "{answer:?}"
        );
    }
    assert_eq!(account.holds().await, (9, 0, 1));
}

#[tokio::test]
async fn an_action_that_is_added_while_the_decision_is_made_is_in_or_refused() {
    let mut world = World::new().await;
    let points = world.willing("points").await;
    let initiator = world.initiator().await;
    for round in 0..20 {
        let name = format!("late-{round}");
        let mut tx = initiator
            .begin("exchange", round.to_string())
            .action(tcc("freeze", "points"))
            .send()
            .await
            .unwrap();
        let id = tx.id();

        let (added, decided) = tokio::join!(
            tx.add_action(tcc(&name, "points")),
            initiator.decide(id, Decision::Success, "", Wait::Completed)
        );

        assert!(decided.unwrap().is_committed());
        let tx = world.finished(id).await;
        let is_in = tx.actions.len() == 2;
        match added {
            Ok(()) => assert_eq!(
                points.count(&name, Operation::Confirm),
                1,
                "{:?}",
                statuses(&tx)
            ),
            Err(refused) => {
                assert_eq!(refused.reason(), Some("ALREADY_DECIDED"), "{refused}");
                assert!(!is_in, "refused, yet {:?}", statuses(&tx));
            }
        }
    }
}

/// A participant by hand: one stream.
struct Stream {
    requests: mpsc::Sender<proto::AttachRequest>,
    replies: tonic::Streaming<proto::AttachReply>,
}

impl Stream {
    async fn open(world: &World) -> Self {
        let (requests, stream) = mpsc::channel(8);
        let hello = proto::Hello {
            participant: "points".to_owned(),
            instance: "by-hand".to_owned(),
            concurrency: 8,
            ..proto::Hello::default()
        };
        let message = Some(attach_request::Message::Hello(hello));
        requests
            .send(proto::AttachRequest { message })
            .await
            .unwrap();
        let mut client = ParticipantsClient::connect(world.url()).await.unwrap();
        let mut replies = client
            .attach(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        let first = replies.message().await.unwrap().unwrap();
        assert!(matches!(
            first.message,
            Some(attach_reply::Message::Welcome(_))
        ));
        Self { requests, replies }
    }

    async fn call(&mut self) -> proto::Call {
        let next = async {
            loop {
                let reply = self.replies.message().await.unwrap().unwrap();
                if let Some(attach_reply::Message::Calls(calls)) = reply.message
                    && let Some(call) = calls.calls.into_iter().next()
                {
                    return call;
                }
            }
        };
        tokio::time::timeout(SOON, next).await.unwrap()
    }

    async fn answer(&self, call: &proto::Call, outcome: proto::result::Outcome) {
        let result = proto::Result {
            epoch: call.epoch,
            call_id: call.call_id,
            tx_id: call.tx_id.clone(),
            action: call.action.clone(),
            operation: call.operation,
            outcome: Some(outcome),
        };
        let results = proto::Results {
            results: vec![result],
            check_backs: Vec::new(),
        };
        let message = Some(attach_request::Message::Results(results));
        self.requests
            .send(proto::AttachRequest { message })
            .await
            .unwrap();
    }
}

fn is_done() -> proto::result::Outcome {
    proto::result::Outcome::Done(proto::Done::default())
}

fn is_refused() -> proto::result::Outcome {
    proto::result::Outcome::Rejected(proto::Rejected {
        reason: "an old answer".to_owned(),
    })
}

#[tokio::test]
async fn an_old_result_of_a_participant_that_came_back_counts_nothing() {
    // given a participant that went away with a call, and comes back with its answer in the buffer
    let world = World::new().await;
    let mut before = Stream::open(&world).await;
    let initiator = world.initiator().await;
    let order = tokio::spawn(async move {
        initiator
            .execute("exchange", "1")
            .action(compensate("deduct", "points"))
            .send()
            .await
            .unwrap()
    });
    let old = before.call().await;
    drop(before);
    world.is_attached("points", false).await;
    let mut after = Stream::open(&world).await;

    // when it sends that answer on its new stream, and then answers the call made there
    after.answer(&old, is_refused()).await;
    let new = after.call().await;
    assert_ne!(old.call_id, new.call_id);
    after.answer(&old, is_refused()).await;
    after.answer(&new, is_done()).await;

    // then only the call made there counts
    let outcome = order.await.unwrap();
    assert!(outcome.is_committed(), "{outcome:?}");
}

#[tokio::test]
async fn an_execute_of_three_seconds_that_is_repeated_every_second_is_one_transaction() {
    // given a participant that needs three seconds
    let mut world = World::new().await;
    let points = world
        .participant("points", |_| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            done("")
        })
        .await;
    let request = proto::ExecuteRequest {
        begin: Some(proto::BeginRequest {
            tx_id: Uuid::now_v7().to_string(),
            business_type: "exchange".to_owned(),
            business_id: "1".to_owned(),
            actions: vec![proto::Action {
                name: "deduct".to_owned(),
                mode: proto::Mode::Compensate.into(),
                participant: "points".to_owned(),
                handler: "compensate".to_owned(),
                ..proto::Action::default()
            }],
            ..proto::BeginRequest::default()
        }),
        wait: proto::Wait::Decided.into(),
    };

    // when its client asks anew each second, on a connection of its own, the earlier ones left open or not
    let mut asked = Vec::new();
    for second in 0..4_u32 {
        let (mut coordinator, request) = (world.coordinator().await, request.clone());
        let call = tokio::spawn(async move { coordinator.execute(request).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        if second == 0 {
            call.abort();
        } else {
            asked.push(call);
        }
    }

    // then every answer is the same, and the Try was called once
    for call in asked {
        let state = call.await.unwrap().unwrap().into_inner();
        assert_eq!(state.biz_status(), proto::BizStatus::Success);
        assert_eq!(state.tx_id, request.begin.as_ref().unwrap().tx_id);
    }
    assert_eq!(points.words(), ["deduct TRY"]);
}

#[tokio::test]
async fn a_message_reaches_its_receiver_however_often_it_takes() {
    let mut world = World::new().await;
    let times = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let post = world
        .participant("post", move |_| {
            let time = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                if time < 5 {
                    Outcome::Unknown("nobody at home".to_owned())
                } else {
                    done("")
                }
            }
        })
        .await;

    let outcome = world
        .initiator()
        .await
        .execute("message", "1")
        .action(deliver("mail", "post"))
        .wait(Wait::Completed)
        .send()
        .await
        .unwrap();

    assert!(
        matches!(outcome, End::Committed { finished: true, .. }),
        "{outcome:?}"
    );
    let tx = world.finished(outcome.tx_id()).await;
    assert_eq!(tx.actions[0].retry_count, 5);
    assert_eq!(tx.actions[0].status(), ActionStatus::Confirmed);
    assert_eq!(tx.actions[0].last_error, "nobody at home");
    assert_eq!(post.count("mail", Operation::Confirm), 6);
    assert_eq!(tx.actions[0].attempts.len(), 5);
}
