//! The two actions: what one Try, Confirm or Cancel moves.

use demo_service::Builder;
use sqlx::SqliteConnection;
use tercet_sdk::{ActionError, Call};

use crate::proto::{Kind, TakeCoupon};
use crate::stock::{Error, Movement, apply};

/// Reserves, then issues or releases.
pub const RESERVE_COUPON: &str = "reserve-coupon";
/// Issues at once, and revokes if the transaction fails.
pub const ISSUE_COUPON: &str = "issue-coupon";

/// Adds both actions to a participant.
pub(crate) fn add(participant: Builder) -> Builder {
    participant
        .tcc_fn(
            RESERVE_COUPON,
            |tx, call| Box::pin(carry_out(tx, Kind::Reserve, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Issue, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Release, call)),
        )
        .compensate_fn(
            ISSUE_COUPON,
            |tx, call| Box::pin(carry_out(tx, Kind::Grant, call)),
            |tx, call| Box::pin(carry_out(tx, Kind::Revoke, call)),
        )
}

async fn carry_out(
    conn: &mut SqliteConnection,
    kind: Kind,
    call: &Call<TakeCoupon>,
) -> Result<(), ActionError> {
    let tx_id = call.tx_id.to_string();
    let movement = Movement {
        tx_id: &tx_id,
        action: &call.action,
        order_id: &call.request.order_id,
        user: &call.request.user,
        coupon: &call.request.kind,
    };
    apply(conn, kind, &movement)
        .await
        .map_err(|error| match error {
            Error::Refused(reason) => ActionError::rejected(reason),
            other => ActionError::failed(other),
        })
}
