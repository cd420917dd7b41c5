//! Calls, check-backs and local commits that are given up: the future is dropped at every point at which it waits. The
//! service's own statements on the same connection are none the wiser, and row and effect stand or fall together.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use sqlx::Pool;
use tercet_sdk::{
    Connection, Operation,
    initiator::{CheckBack, Client},
};
use uuid::Uuid;

use crate::{
    coordinator_mock::{Mock, committed, running},
    world::{Dialect, World, effect, on_every_database},
};

on_every_database!(
    a_call_is_given_up_at_every_point,
    a_check_back_is_given_up_at_every_point,
    a_purge_is_given_up_at_every_point,
    a_local_commit_is_given_up_at_every_point,
);

/// How often every point is tried: the driver does not wait at the same points each time.
const ROUNDS: usize = 4;

/// Polls a future so many times and drops it; returns whether it came to its end.
async fn give_up_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled < polls {
            polled += 1;
            if future.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
        }
        if polled < polls {
            Poll::Pending
        } else {
            Poll::Ready(false)
        }
    })
    .await
}

/// A service with one connection, and its own table.
struct Service<D: Dialect> {
    world: World<D>,
    beside: Pool<D>,
    settings: Vec<String>,
    statements: usize,
}

impl<D: Dialect> Service<D> {
    async fn new() -> Self {
        let (world, beside) = World::<D>::of_one_connection().await;
        world
            .run("CREATE TABLE own (number INTEGER)".to_owned())
            .await;
        let settings = D::words(&beside, settings::<D>()).await;
        Self {
            world,
            beside,
            settings,
            statements: 0,
        }
    }

    /// Says a statement of the service's own: it is committed at once, and the session is as it was.
    async fn goes_on(&mut self, case: &str) {
        self.statements += 1;
        let number = self.statements;
        let insert = format!("INSERT INTO own (number) VALUES ({number})");
        assert_eq!(self.world.run(insert).await, 1, "{case}");
        let select = format!("SELECT 'committed' FROM own WHERE number = {number}");
        let seen = D::words(&self.beside, select).await;
        assert_eq!(seen, ["committed"], "{case}: an acknowledged statement");
        let settings = D::words(&self.world.pool, settings::<D>()).await;
        assert_eq!(settings, self.settings, "{case}");
    }

    /// Returns the effects and the row of a transaction.
    async fn left(&self, tx_id: Uuid) -> Vec<String> {
        let both = format!(
            "SELECT operation FROM effect WHERE tx_id = '{tx_id}' \
             UNION ALL SELECT state FROM tercet_barrier WHERE tx_id = '{tx_id}'"
        );
        let mut left = D::words(&self.beside, both).await;
        left.sort_unstable();
        left
    }
}

/// Returns the query of all settings of the session that a local transaction changes.
fn settings<D: Dialect>() -> String {
    let query = match <D as sqlx::Database>::NAME {
        "PostgreSQL" => {
            "SELECT current_setting('default_transaction_read_only') || current_setting('lock_timeout') \
             || current_setting('transaction_isolation')"
        }
        "MySQL" => {
            "SELECT CONCAT_WS(',', @@autocommit, @@innodb_lock_wait_timeout, @@tx_read_only, @@tx_isolation)"
        }
        _ => "SELECT 'none'",
    };
    query.to_owned()
}

async fn a_call_is_given_up_at_every_point<D: Dialect>() {
    let mut service = Service::<D>::new().await;
    for round in 0..ROUNDS {
        for polls in 0.. {
            let tx_id = Uuid::now_v7();
            let tx = service.world.transaction_of(tx_id);
            let call = service.world.participant.call(tx.call(Operation::Try));
            let done = give_up_after(polls, call).await;
            let case = format!("round {round}, {polls} polls");
            service.goes_on(&case).await;
            let left = service.left(tx_id).await;
            assert!(
                left.is_empty() || left == ["TRIED", "TRY"],
                "{case}: {left:?}"
            );
            if done {
                assert!(!left.is_empty(), "{case}");
                break;
            }
        }
    }
}

async fn a_check_back_is_given_up_at_every_point<D: Dialect>() {
    let mut service = Service::<D>::new().await;
    for round in 0..ROUNDS {
        for polls in 0.. {
            let tx_id = Uuid::now_v7();
            let answer = service.world.barrier.check_back(tx_id);
            let done = give_up_after(polls, answer).await;
            let case = format!("round {round}, {polls} polls");
            service.goes_on(&case).await;
            if done {
                assert_eq!(service.left(tx_id).await, ["FAILURE"], "{case}");
                break;
            }
        }
    }
}

async fn a_purge_is_given_up_at_every_point<D: Dialect>() {
    let mut service = Service::<D>::new().await;
    for round in 0..ROUNDS {
        for polls in 0.. {
            let done = give_up_after(polls, service.world.barrier.purge(10)).await;
            let case = format!("round {round}, {polls} polls");
            service.goes_on(&case).await;
            if done {
                break;
            }
        }
    }
}

async fn a_local_commit_is_given_up_at_every_point<D: Dialect>() {
    let mut service = Service::<D>::new().await;
    let mock = Mock::start(|_, request| match request {
        tercet_sdk::proto::session_request::Request::Decide(_) => committed(request),
        _ => running(request),
    })
    .await;
    let client = Client::connect([mock.address.clone()]).await.unwrap();
    for round in 0..ROUNDS {
        for polls in 0.. {
            let draft = client.begin("order", format!("{round}-{polls}"));
            let draft = draft.check_back(CheckBack::ask("shop"));
            let mut tx = draft.send().await.unwrap();
            let tx_id = tx.id();
            let sql = effect(tx_id, "", "TRY");
            let done = give_up_after(
                polls,
                tx.commit_with(&service.world.barrier, |local: &mut Connection<D>| {
                    Box::pin(D::run(local, sql))
                }),
            )
            .await;
            let case = format!("round {round}, {polls} polls");
            service.goes_on(&case).await;
            let left = service.left(tx_id).await;
            assert!(
                left.is_empty() || left == ["SUCCESS", "TRY"],
                "{case}: {left:?}"
            );
            if done {
                assert!(!left.is_empty(), "{case}");
                break;
            }
        }
    }
}
