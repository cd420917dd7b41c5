//! The kit passes a correct participant, and names the cells of every flaw.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use sqlx::{SqliteConnection, SqlitePool, sqlite::SqliteConnectOptions, sqlite::SqlitePoolOptions};
use tercet_sdk::{
    ActionError, Barrier, Call, CompensateAction, DeliverAction, Json, Participant, Sqlite,
    TccAction, proto,
};
use tercet_testkit::{Conformance, Subject};

/// Points of one account: available, frozen. More than 100 are refused.
struct Freeze;

async fn change(
    connection: &mut SqliteConnection,
    available: i64,
    frozen: i64,
) -> Result<bool, sqlx::Error> {
    let change = sqlx::query(
        "UPDATE account SET available = available + $1, frozen = frozen + $2
         WHERE available + $1 >= 0",
    );
    let changed = change
        .bind(available)
        .bind(frozen)
        .execute(connection)
        .await?;
    Ok(changed.rows_affected() == 1)
}

async fn take(
    tx: &mut SqliteConnection,
    points: i64,
    frozen: i64,
) -> Result<Json<i64>, ActionError> {
    if !change(tx, -points, frozen).await? {
        return Err(ActionError::rejected("short of points"));
    }
    Ok(Json(points))
}

impl TccAction<Sqlite> for Freeze {
    type Request = Json<i64>;
    type Response = Json<i64>;

    async fn try_(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<Json<i64>, ActionError> {
        take(tx, call.request.0, call.request.0).await
    }

    async fn confirm(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, 0, -call.request.0).await?;
        Ok(())
    }

    async fn cancel(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, call.request.0, -call.request.0).await?;
        Ok(())
    }
}

struct Spend;

impl CompensateAction<Sqlite> for Spend {
    type Request = Json<i64>;
    type Response = Json<i64>;

    async fn act(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<Json<i64>, ActionError> {
        take(tx, call.request.0, 0).await
    }

    async fn compensate(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, call.request.0, 0).await?;
        Ok(())
    }
}

struct Credit;

impl DeliverAction<Sqlite> for Credit {
    type Request = Json<i64>;

    async fn deliver(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<Json<i64>>,
    ) -> Result<(), ActionError> {
        change(tx, call.request.0, 0).await?;
        Ok(())
    }
}

struct Points {
    participant: Participant,
    pool: SqlitePool,
}

impl Points {
    async fn new(with_barrier: bool) -> Self {
        let options = SqliteConnectOptions::new().in_memory(true);
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(options).await.unwrap();
        let table = "CREATE TABLE account (available INTEGER, frozen INTEGER);
                     INSERT INTO account VALUES (0, 0)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        let barrier = Barrier::new(pool.clone());
        barrier.create_table().await.unwrap();
        let mut builder = Participant::builder("points").barrier(barrier);
        if !with_barrier {
            builder = builder.without_barrier_for_demonstration();
        }
        let builder = builder.tcc("freeze", Freeze).compensate("spend", Spend);
        let participant = builder.deliver("credit", Credit).build().unwrap();
        Self { participant, pool }
    }
}

impl Subject for Points {
    type State = (i64, i64);

    async fn reset(&self) {
        let reset = sqlx::query("UPDATE account SET available = 100, frozen = 0");
        reset.execute(&self.pool).await.unwrap();
    }

    async fn call(&self, call: proto::Call) -> proto::Result {
        self.participant.call(call).await
    }

    async fn observe(&self) -> (i64, i64) {
        let account = sqlx::query_as("SELECT available, frozen FROM account");
        account.fetch_one(&self.pool).await.unwrap()
    }
}

fn every_mode() -> [Conformance; 3] {
    [
        Conformance::tcc("points", "freeze").rejected_request(&Json(101)),
        Conformance::compensate("points", "spend").rejected_request(&Json(101)),
        Conformance::deliver("points", "credit"),
    ]
    .map(|conformance| conformance.request(&Json(40)))
}

#[tokio::test]
async fn actions_behind_the_barrier_pass_every_cell() {
    let points = Points::new(true).await;
    for conformance in every_mode() {
        let report = conformance.check(&points).await;
        report.assert_passed();
        println!("{report}");
    }
}

#[tokio::test]
async fn without_the_barrier_repetitions_take_effect_again() {
    let points = Points::new(false).await;
    for (conformance, expected) in every_mode().into_iter().zip([
        "TRY on TRIED (a repetition)",
        "CANCEL on CANCELLED (a repetition)",
        "CONFIRM on CONFIRMED (a repetition)",
    ]) {
        let report = conformance.check(&points).await;
        assert!(
            report.failures().any(|(cell, _)| cell == expected),
            "{report}"
        );
    }
}

/// A flaw of a participant that does not use the SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    TryRepeats,
    ResultForgotten,
    EmptyCancelLeavesNoFence,
    EmptyCancelRefused,
    ConfirmRepeats,
    ConfirmWithoutTry,
    CancelUndoesConfirm,
    RejectionForgotten,
    SelectThenInsert,
    WrongEcho,
}

#[derive(Default)]
struct Books {
    rows: HashMap<String, (&'static str, u64)>,
    frozen: i64,
    spent: i64,
    tries: u64,
}

struct OtherMake {
    flaw: Flaw,
    books: Arc<Mutex<Books>>,
}

impl OtherMake {
    /// The barrier's table, by hand; returns `None` for a rejection.
    fn carry_out(&self, call: &proto::Call, row: Option<(&'static str, u64)>) -> Option<u64> {
        use proto::Operation::{Cancel, Confirm, Try};
        let mut books = self.books.lock().unwrap();
        let flaw = self.flaw;
        let state = row.map_or("", |(state, _)| state);
        let result = row.map_or(0, |(_, result)| result);
        let mut put = |state, result| {
            books.rows.insert(call.tx_id.clone(), (state, result));
            Some(result)
        };
        match (call.operation(), state) {
            (Try, "") if call.payload[..] == *b"no" => {
                put(
                    if flaw == Flaw::RejectionForgotten {
                        ""
                    } else {
                        "REJECTED"
                    },
                    0,
                );
                None
            }
            (Try, "TRIED") if flaw == Flaw::ResultForgotten => Some(result + 1),
            (Try, "" | "TRIED") if state.is_empty() || flaw == Flaw::TryRepeats => {
                books.frozen += 1;
                books.tries += 1;
                let result = if flaw == Flaw::TryRepeats {
                    1
                } else {
                    books.tries
                };
                books.rows.insert(call.tx_id.clone(), ("TRIED", result));
                Some(result)
            }
            (Try, "TRIED" | "CONFIRMED") => Some(result),
            (Confirm, "") if flaw == Flaw::ConfirmWithoutTry => put("CONFIRMED", 0),
            (Confirm, "TRIED") => {
                put("CONFIRMED", result);
                books.frozen -= 1;
                books.spent += 1;
                Some(0)
            }
            (Confirm, "CONFIRMED") => {
                books.spent += i64::from(flaw == Flaw::ConfirmRepeats);
                Some(0)
            }
            (Cancel, "") if flaw == Flaw::EmptyCancelLeavesNoFence => Some(0),
            (Cancel, "") if flaw == Flaw::EmptyCancelRefused => None,
            (Cancel, "") => put("CANCELLED", 0),
            (Cancel, "TRIED") => {
                put("CANCELLED", 0);
                books.frozen -= 1;
                Some(0)
            }
            (Cancel, "CONFIRMED") if flaw == Flaw::CancelUndoesConfirm => {
                books.spent -= 1;
                Some(0)
            }
            (Cancel, "CANCELLED" | "REJECTED") => Some(0),
            _ => None,
        }
    }
}

impl Subject for OtherMake {
    type State = (i64, i64);

    async fn reset(&self) {
        *self.books.lock().unwrap() = Books::default();
    }

    async fn call(&self, call: proto::Call) -> proto::Result {
        let row = self.books.lock().unwrap().rows.get(&call.tx_id).copied();
        if self.flaw == Flaw::SelectThenInsert {
            // Other calls look at the row before this one acts on it.
            tokio::task::yield_now().await;
        }
        let outcome = match self.carry_out(&call, row.filter(|(state, _)| !state.is_empty())) {
            Some(result) => proto::result::Outcome::Done(proto::Done {
                result: result.to_be_bytes().to_vec().into(),
            }),
            None => proto::result::Outcome::Rejected(proto::Rejected::default()),
        };
        proto::Result {
            epoch: call.epoch,
            call_id: call.call_id + u64::from(self.flaw == Flaw::WrongEcho),
            tx_id: call.tx_id,
            action: call.action,
            operation: call.operation,
            outcome: Some(outcome),
        }
    }

    async fn observe(&self) -> (i64, i64) {
        let books = self.books.lock().unwrap();
        (books.frozen, books.spent)
    }
}

/// The cells that fail, in the table's order.
async fn failing(flaw: Flaw) -> Vec<&'static str> {
    let subject = OtherMake {
        flaw,
        books: Arc::default(),
    };
    let conformance = Conformance::tcc("points", "freeze")
        .request(&tercet_sdk::Raw("yes".into()))
        .rejected_request(&tercet_sdk::Raw("no".into()));
    let report = conformance.check(&subject).await;
    report.failures().map(|(cell, _)| cell).collect()
}

#[tokio::test]
async fn each_flaw_is_named_by_its_cells() {
    let table: [(Flaw, &[&str]); 11] = [
        (Flaw::None, &[]),
        (
            Flaw::TryRepeats,
            &["TRY on TRIED (a repetition)", "TRY racing TRY"],
        ),
        (
            Flaw::ResultForgotten,
            &["TRY on TRIED (a repetition)", "TRY racing TRY"],
        ),
        (
            Flaw::EmptyCancelLeavesNoFence,
            &["TRY after an empty CANCEL (a late Try)"],
        ),
        (
            Flaw::EmptyCancelRefused,
            &[
                "TRY after an empty CANCEL (a late Try)",
                "CANCEL on no row (an empty cancel)",
            ],
        ),
        (
            Flaw::ConfirmRepeats,
            &[
                "CONFIRM on CONFIRMED (a repetition)",
                "CONFIRM racing CONFIRM",
            ],
        ),
        (Flaw::ConfirmWithoutTry, &["CONFIRM on no row"]),
        (Flaw::CancelUndoesConfirm, &["CANCEL on CONFIRMED"]),
        (Flaw::RejectionForgotten, &["TRY on REJECTED"]),
        (
            Flaw::SelectThenInsert,
            &[
                "TRY racing TRY",
                "CONFIRM racing CONFIRM",
                "CANCEL racing CANCEL",
                "TRY racing CANCEL",
            ],
        ),
        (Flaw::WrongEcho, &["one transaction that goes well"]),
    ];
    for (flaw, expected) in table {
        assert_eq!(failing(flaw).await, expected, "{flaw:?}");
    }
}

#[tokio::test]
async fn an_effect_that_cannot_be_observed_is_no_pass() {
    struct Blind(Points);
    impl Subject for Blind {
        type State = ();
        async fn reset(&self) {
            self.0.reset().await;
        }
        async fn call(&self, call: proto::Call) -> proto::Result {
            self.0.call(call).await
        }
        async fn observe(&self) {}
    }
    let blind = Blind(Points::new(true).await);
    let conformance = Conformance::tcc("points", "freeze").request(&Json(40));
    let report = conformance.check(&blind).await.to_string();
    assert!(report.contains("observe() sees no effect"), "{report}");
}
