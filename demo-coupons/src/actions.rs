//! The two actions: what one Try, Confirm or Cancel moves.

use sqlx::SqliteConnection;
use tercet_sdk::{ActionError, Call, CompensateAction, Sqlite, TccAction};

use crate::proto::{Kind, TakeCoupon};
use crate::stock::{Error, Movement, apply};

/// "reserve-coupon": reserves, then issues or releases.
#[derive(Clone, Copy, Debug)]
pub struct ReserveCoupon;

/// "issue-coupon": issues at once, and revokes if the transaction fails.
#[derive(Clone, Copy, Debug)]
pub struct IssueCoupon;

impl TccAction<Sqlite> for ReserveCoupon {
    type Request = TakeCoupon;
    type Response = ();

    async fn try_(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Reserve, call).await
    }

    async fn confirm(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Issue, call).await
    }

    async fn cancel(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Release, call).await
    }
}

impl CompensateAction<Sqlite> for IssueCoupon {
    type Request = TakeCoupon;
    type Response = ();

    async fn act(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Grant, call).await
    }

    async fn compensate(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakeCoupon>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Revoke, call).await
    }
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
