//! The two actions: what one Try, Confirm or Cancel moves.

use sqlx::SqliteConnection;
use tercet_sdk::{ActionError, Call, CompensateAction, Sqlite, TccAction};

use crate::accounts::{Error, Movement, apply};
use crate::proto::{Kind, TakePoints};

/// "freeze-points": freezes, then spends or releases.
#[derive(Clone, Copy, Debug)]
pub struct FreezePoints;

/// "deduct-points": spends at once, and refunds if the transaction fails.
#[derive(Clone, Copy, Debug)]
pub struct DeductPoints;

impl TccAction<Sqlite> for FreezePoints {
    type Request = TakePoints;
    type Response = ();

    async fn try_(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Freeze, call).await
    }

    async fn confirm(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Spend, call).await
    }

    async fn cancel(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Release, call).await
    }
}

impl CompensateAction<Sqlite> for DeductPoints {
    type Request = TakePoints;
    type Response = ();

    async fn act(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Deduct, call).await
    }

    async fn compensate(
        &self,
        tx: &mut SqliteConnection,
        call: &Call<TakePoints>,
    ) -> Result<(), ActionError> {
        carry_out(tx, Kind::Refund, call).await
    }
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
