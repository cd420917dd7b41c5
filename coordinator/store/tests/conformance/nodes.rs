//! Leases, epochs and participants.

use std::time::Duration;

use tercet_store::{ParticipantRow, Renewal};

use super::Database;

const LEASE: Duration = Duration::from_secs(10);

pub async fn epochs_rise<D: Database>(database: &mut D) {
    let first = database
        .store()
        .start_node("a", "127.0.0.1:1", LEASE)
        .await
        .unwrap();
    let second = database
        .store()
        .start_node("a", "127.0.0.1:2", LEASE)
        .await
        .unwrap();
    let other = database
        .store()
        .start_node("A", "127.0.0.1:3", LEASE)
        .await
        .unwrap();
    assert_eq!(
        (first.owner.epoch, second.owner.epoch, other.owner.epoch),
        (1, 2, 1)
    );
    assert_eq!(&*second.owner.node, "a");
    assert!(second.now >= first.now);

    database.restart().await;
    let third = database
        .store()
        .start_node("a", "127.0.0.1:1", LEASE)
        .await
        .unwrap();
    assert_eq!(third.owner.epoch, 3);
}

pub async fn a_lease_is_renewed_until_a_later_start<D: Database>(database: &mut D) {
    let store = database.store();
    let first = store.start_node("a", "", LEASE).await.unwrap();
    let Renewal::Renewed(now) = store.renew(&first.owner, LEASE).await.unwrap() else {
        panic!("nobody else has started");
    };
    assert!(now >= first.now);

    let second = store.start_node("a", "", LEASE).await.unwrap();
    assert_eq!(
        store.renew(&first.owner, LEASE).await.unwrap(),
        Renewal::Superseded { epoch: 2 }
    );
    assert!(matches!(
        store.renew(&second.owner, LEASE).await.unwrap(),
        Renewal::Renewed(_)
    ));

    let mut stranger = first.owner;
    stranger.node = "b".into();
    store.renew(&stranger, LEASE).await.unwrap_err();
}

pub async fn an_ended_lease_is_over<D: Database>(database: &mut D) {
    let store = database.store();
    let first = store.start_node("a", "", LEASE).await.unwrap();
    store.end_node(&first.owner).await.unwrap();
    // Its epoch stays: what it wrote is told apart from what a later incarnation writes.
    let second = store.start_node("a", "", LEASE).await.unwrap();
    assert_eq!(second.owner.epoch, 2);
    // The end of an earlier incarnation comes late and changes nothing.
    store.end_node(&first.owner).await.unwrap();
    assert!(matches!(
        store.renew(&second.owner, LEASE).await.unwrap(),
        Renewal::Renewed(_)
    ));
}

pub async fn participants_are_replaced<D: Database>(database: &mut D) {
    let store = database.store();
    assert_eq!(store.participants().await.unwrap(), []);
    let mut row = ParticipantRow {
        participant: "points".into(),
        protocol: "GRPC".into(),
        address: "http://127.0.0.1:7001".into(),
        methods: r#"{"exchange":{"try":"/points.v1.Points/Freeze"}}"#.into(),
        policy: r#"{"concurrency":8}"#.into(),
        version: 1,
    };
    assert_eq!(store.put_participant(&row).await.unwrap(), 1);
    let upper = ParticipantRow {
        participant: "POINTS".into(),
        protocol: "ATTACH".into(),
        address: String::new(),
        ..row.clone()
    };
    assert_eq!(store.put_participant(&upper).await.unwrap(), 1);
    row.address = "http://127.0.0.1:7002".into();
    assert_eq!(store.put_participant(&row).await.unwrap(), 2);
    row.version = 2;

    database.restart().await;
    assert_eq!(database.store().participants().await.unwrap(), [upper, row]);
}
