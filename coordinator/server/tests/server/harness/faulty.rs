//! A database that takes no writes, or does not answer, when a test says so.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tercet_core::{
    id::TxId,
    model::{DueRow, Owner, Transaction},
    row::IllegalRow,
    write::{ApplyFailure, Due, DueQuery, QueuesQuery, Standing, Write},
};
use tercet_store::{
    Incarnation, ListQuery, Nodes, ParticipantRow, Registry, Renewal, SqliteStore, Store,
    StoreError, Transactions, TxView, UnreadableParticipant, Views,
};
use tokio::{sync::watch, time::timeout};

use super::PATIENCE;

/// The way in which a database fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every write fails like this.
    Writes(ApplyFailure),
    /// Commits fail like this, and writes of other tables succeed.
    Commits(ApplyFailure),
    /// Every read of the engine fails.
    Reads,
    /// No read of the engine is answered until the fault is over.
    ReadsHang,
    /// The clock is read so far ahead.
    ClockAhead(Duration),
    /// No write is answered until the fault is over; then it is carried out.
    Hangs,
}

/// A database that fails when it is told to.
pub(crate) struct Faulty {
    inner: Arc<SqliteStore>,
    fault: watch::Sender<Option<Fault>>,
    /// The number of renewals of the lease.
    renewed: watch::Sender<u64>,
}

impl Faulty {
    pub(crate) fn over(inner: Arc<SqliteStore>) -> Self {
        Self {
            inner,
            fault: watch::Sender::new(None),
            renewed: watch::Sender::new(0),
        }
    }

    /// Returns the database without its faults.
    pub(crate) fn store(&self) -> Arc<SqliteStore> {
        Arc::clone(&self.inner)
    }

    /// Waits until the lease was renewed so many times more.
    pub(crate) async fn renewed(&self, times: u64) {
        let mut renewed = self.renewed.subscribe();
        let before = *renewed.borrow_and_update();
        // The sender lives as long as this.
        let until = renewed.wait_for(|now| *now >= before + times);
        timeout(PATIENCE, until).await.unwrap().unwrap();
    }

    /// Fails like this from now on; `None`: no longer.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }

    async fn before_write(&self, commit: bool) -> Result<(), StoreError> {
        let mut fault = self.fault.subscribe();
        // The sender lives as long as this.
        let fault = *fault
            .wait_for(|fault| *fault != Some(Fault::Hangs))
            .await
            .unwrap();
        match fault {
            Some(Fault::Writes(kind)) => Err(StoreError::new(kind, "writing", "the disk is full")),
            Some(Fault::Commits(kind)) if commit => Err(StoreError::new(
                kind,
                "writing",
                "no such table: action_info",
            )),
            _ => Ok(()),
        }
    }

    async fn before_read(&self) -> Result<(), StoreError> {
        let mut fault = self.fault.subscribe();
        // The sender lives as long as this.
        let answers = fault.wait_for(|fault| *fault != Some(Fault::ReadsHang));
        answers.await.unwrap();
        if *self.fault.borrow() == Some(Fault::Reads) {
            let kind = ApplyFailure::Fatal;
            return Err(StoreError::new(
                kind,
                "reading",
                "unable to open database file",
            ));
        }
        Ok(())
    }
}

#[async_trait]
impl Transactions for Faulty {
    async fn apply(&self, batch: Arc<Vec<Write>>) -> Result<(), StoreError> {
        self.before_write(true).await?;
        self.inner.apply(batch).await
    }

    async fn standing(&self, batch: &[Write]) -> Result<Vec<Standing>, StoreError> {
        self.before_read().await?;
        self.inner.standing(batch).await
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Result<Transaction, IllegalRow>>, StoreError> {
        self.before_read().await?;
        self.inner.load(ids).await
    }

    async fn due(&self, query: &DueQuery) -> Result<Vec<Due>, StoreError> {
        self.before_read().await?;
        self.inner.due(query).await
    }

    async fn queues(&self, query: &QueuesQuery) -> Result<Vec<DueRow>, StoreError> {
        self.before_read().await?;
        self.inner.queues(query).await
    }
}

#[async_trait]
impl Nodes for Faulty {
    async fn start_node(
        &self,
        node: &str,
        address: &str,
        lease: Duration,
    ) -> Result<Incarnation, StoreError> {
        self.inner.start_node(node, address, lease).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<Renewal, StoreError> {
        self.before_write(false).await?;
        let renewal = self.inner.renew(owner, lease).await?;
        self.renewed.send_modify(|times| *times += 1);
        Ok(match (renewal, *self.fault.borrow()) {
            (Renewal::Renewed(now), Some(Fault::ClockAhead(by))) => Renewal::Renewed(now + by),
            (renewal, _) => renewal,
        })
    }

    async fn end_node(&self, owner: &Owner) -> Result<(), StoreError> {
        self.before_write(false).await?;
        self.inner.end_node(owner).await
    }
}

#[async_trait]
impl Views for Faulty {
    async fn view(&self, id: TxId) -> Result<Option<Result<TxView, IllegalRow>>, StoreError> {
        self.inner.view(id).await
    }

    async fn find(
        &self,
        business_type: &str,
        business_id: &str,
    ) -> Result<Option<TxId>, StoreError> {
        self.inner.find(business_type, business_id).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Result<TxView, IllegalRow>>, StoreError> {
        self.inner.list(query).await
    }
}

#[async_trait]
impl Registry for Faulty {
    async fn participants(
        &self,
    ) -> Result<Vec<Result<ParticipantRow, UnreadableParticipant>>, StoreError> {
        self.inner.participants().await
    }

    async fn put_participant(&self, row: &ParticipantRow) -> Result<u32, StoreError> {
        self.before_write(false).await?;
        self.inner.put_participant(row).await
    }
}

#[async_trait]
impl Store for Faulty {
    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
