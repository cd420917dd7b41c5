//! Write participants and initiators of Tercet transactions.
//!
//! A *participant* is a service that implements actions. An action's code receives the open local
//! transaction of the participant's own database, in which the *barrier* has already checked that the
//! call is neither repeated nor late nor out of order. So the code only contains what one Try, Confirm
//! or Cancel changes:
//!
//! ```no_run
//! use sqlx::{SqliteConnection, SqlitePool};
//! use tercet_sdk::{ActionError, AttachOptions, Barrier, Call, Json, Participant, Sqlite, TccAction};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Freeze {
//!     user: String,
//!     points: i64,
//! }
//!
//! struct FreezePoints;
//!
//! impl TccAction<Sqlite> for FreezePoints {
//!     type Request = Json<Freeze>; // or a prost message, without a wrapper
//!     type Response = ();
//!
//!     async fn try_(&self, tx: &mut SqliteConnection, call: &Call<Json<Freeze>>) -> Result<(), ActionError> {
//!         let Freeze { user, points } = &call.request.0;
//!         let frozen = sqlx::query(
//!             "UPDATE account SET available = available - $1, frozen = frozen + $1
//!              WHERE user = $2 AND available >= $1",
//!         )
//!         .bind(points)
//!         .bind(user)
//!         .execute(tx)
//!         .await?; // an error: rolled back, and called again
//!         if frozen.rows_affected() == 0 {
//!             return Err(ActionError::rejected("short of points")); // the transaction fails
//!         }
//!         Ok(())
//!     }
//!
//!     async fn confirm(&self, tx: &mut SqliteConnection, call: &Call<Json<Freeze>>) -> Result<(), ActionError> {
//!         let Freeze { user, points } = &call.request.0;
//!         let spend = sqlx::query("UPDATE account SET frozen = frozen - $1 WHERE user = $2");
//!         spend.bind(points).bind(user).execute(tx).await?;
//!         Ok(())
//!     }
//!
//!     async fn cancel(&self, tx: &mut SqliteConnection, call: &Call<Json<Freeze>>) -> Result<(), ActionError> {
//!         let Freeze { user, points } = &call.request.0;
//!         let give_back = sqlx::query(
//!             "UPDATE account SET available = available + $1, frozen = frozen - $1 WHERE user = $2",
//!         );
//!         give_back.bind(points).bind(user).execute(tx).await?;
//!         Ok(())
//!     }
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = SqlitePool::connect("sqlite://points.db").await?;
//! let barrier = Barrier::new(pool);
//! barrier.create_table().await?;
//! let points = Participant::builder("points").barrier(barrier).tcc("freeze", FreezePoints).build()?;
//! let coordinators = AttachOptions::new(["http://127.0.0.1:7460"], "points-1");
//! points.attach(coordinators, async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The result of an action
//!
//! | the code returns | the coordinator sees | the local transaction |
//! |---|---|---|
//! | `Ok` | done | committed, with the barrier's row |
//! | `Err(`[`ActionError::Rejected`]`)` in a Try | rejected: the transaction fails | only the row is committed, as REJECTED |
//! | `Err(`[`ActionError::Rejected`]`)` later | rejected: the action waits for a person | rolled back, the row's change too |
//! | any other error, a panic, no time left | unknown: called again | rolled back |
//! | anything, after it ended the local transaction itself | unknown: called again | what follows is not committed; see `docs/guides/participant.md` |
//!
//! A repeated call is answered from the row, without running the code. A Cancel that comes before its
//! Try leaves a row by which the late Try is rejected. On deadlocks and busy databases the SDK itself
//! repeats the local transaction. The whole table is in [`tercet_barrier`].
//!
//! # The three modes
//!
//! A [`TccAction`] freezes, then confirms or cancels. A [`CompensateAction`] takes effect in phase one
//! and may have to be undone. A [`DeliverAction`] only delivers, once the transaction has succeeded.
//! An effect outside the database is declared with [`TccAction::external`].
//!
//! # Reaching the coordinator
//!
//! [`Participant::attach`] opens streams to every coordinator and needs no inbound port.
//! [`Participant::serve`] is a gRPC server at an address that is registered with the coordinator.

mod context;
pub mod database;
mod error;
pub mod initiator;
pub mod participant;
mod payload;
mod text;

pub use context::{Call, CallContext, MAX_NAME_BYTES};
pub use database::{Barrier, Connection, Database};
pub use error::{ActionError, BuildError, PayloadError};
pub use participant::{
    AttachOptions, CallInterceptor, CompensateAction, DeliverAction, Next, Participant, TccAction,
};
pub use payload::{Json, Payload, Raw};
pub use sqlx::{MySql, Postgres, Sqlite};
pub use tercet_barrier::{CallAnswer, Mode, Operation, initiator::Truth};
pub use tercet_proto::v1 as proto;

/// The programs of the README must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
