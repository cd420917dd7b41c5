//! The two actions: what one Try, Confirm or Cancel moves.

use demo_service::Builder;
use sqlx::SqliteConnection;
use tercet_sdk::{ActionError, Call};

use crate::accounts::{Error, Movement, apply};
use crate::proto::{Kind, TakePoints};

/// Freezes, then spends or releases.
pub const FREEZE_POINTS: &str = "freeze-points";
/// Spends at once, and refunds if the transaction fails.
pub const DEDUCT_POINTS: &str = "deduct-points";

/// Adds both actions to a participant.
pub(crate) fn add(participant: Builder) -> Builder {
    participant
        .tcc_fn(
            FREEZE_POINTS,
            |tx, call| Box::pin(carry_out(tx, Kind::Freeze, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Spend, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Release, call)),
        )
        .compensate_fn(
            DEDUCT_POINTS,
            |tx, call| Box::pin(carry_out(tx, Kind::Deduct, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Refund, call)),
        )
}

async fn carry_out(
    conn: &mut SqliteConnection,
    kind: Kind,
    call: &Call<TakePoints>,
) -> Result<(), ActionError> {
    let tx_id = call.tx_id.to_string();
    let movement = Movement {
        tx_id: &tx_id,
        action: &call.action,
        order_id: &call.request.order_id,
        user: &call.request.user,
        points: call.request.points,
    };
    apply(conn, kind, &movement)
        .await
        .map_err(|error| match error {
            Error::Refused(reason) => ActionError::rejected(reason),
            other => ActionError::failed(other),
        })
}
