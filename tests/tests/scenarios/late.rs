//! Calls and results that arrive late, twice, or after a participant has attached again.

use std::{sync::Arc, time::Duration};

use sqlx::{SqliteConnection, SqlitePool};
use tercet_sdk::{
    ActionError, Barrier, Call, CallAnswer, CallInterceptor, Next, Participant, Sqlite, TccAction,
    initiator::{Action, Decision},
    participant::ParticipantBuilder,
    proto::{
        self, Operation, attach_reply, attach_request, participants_client::ParticipantsClient,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::world::{Gate, SOON, World, compensate, soon};

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

/// An account of ten points in a database with a barrier.
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

/// Holds every Try back until the gate opens, and passes its answer on then.
struct LateTry {
    gate: Gate,
    answered: mpsc::UnboundedSender<CallAnswer>,
}

#[tonic::async_trait]
impl CallInterceptor for LateTry {
    async fn around(&self, call: &proto::Call, next: Next<'_>) -> CallAnswer {
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
    let retry = soon().call_timeout(Duration::from_millis(200));
    let freeze = Action::tcc("freeze", "points").retry(retry);
    let draft = world.draft([freeze]).await;
    let draft = draft.timeout(Duration::from_millis(400));
    let outcome = draft.send().await.unwrap();
    assert_eq!(outcome.decision(), Some(Decision::Failure));

    // then the late Try is refused, and nothing was frozen
    gate.open();
    while let Ok(late) = tokio::time::timeout(Duration::from_secs(1), answers.recv()).await {
        let late = late.unwrap();
        assert!(!matches!(late, CallAnswer::Done(_)), "{late:?}");
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

/// A participant without the SDK: one stream.
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
            handlers: vec![proto::Handler {
                name: "compensate".to_owned(),
                mode: proto::Mode::Compensate.into(),
            }],
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
async fn an_old_result_of_a_participant_that_came_back_does_not_count() {
    // given a participant whose stream broke with a call, and that attaches again with its answer in the buffer
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
