//! Epochs, leases and participants.

use std::time::Duration;

use tercet_store::{ParticipantRow, Renewal, Store, UnreadableParticipant};

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
        panic!("no other incarnation has started");
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
    // Its epoch stays, so that its writes differ from those of a later incarnation.
    let second = store.start_node("a", "", LEASE).await.unwrap();
    assert_eq!(second.owner.epoch, 2);
    // The end of an earlier incarnation comes late and changes nothing.
    store.end_node(&first.owner).await.unwrap();
    assert!(matches!(
        store.renew(&second.owner, LEASE).await.unwrap(),
        Renewal::Renewed(_)
    ));
}

/// Reads the participants, each of which has a row that can be read.
async fn known(store: &dyn Store) -> Vec<ParticipantRow> {
    let rows = store.participants().await.unwrap();
    rows.into_iter().map(Result::unwrap).collect()
}

/// A row that cannot be read is named and hides no other; a registration makes it anew.
pub async fn unreadable_participants_are_named<D: Database>(database: &mut D) {
    let store = database.store();
    let row = |participant: &str| ParticipantRow {
        participant: participant.into(),
        protocol: "GRPC".into(),
        address: "http://127.0.0.1:7001".into(),
        methods: "{}".into(),
        policy: "{}".into(),
        paused: false,
        version: 1,
    };
    for participant in ["coupons", "points", "stock"] {
        store.put_participant(&row(participant)).await.unwrap();
    }
    database
        .tamper("UPDATE participant_info SET version = -1 WHERE participant = 'points'")
        .await;
    let unreadable = UnreadableParticipant {
        participant: Some("points".into()),
        what: "version is -1".into(),
    };
    let rows = database.store().participants().await.unwrap();
    let expected = [Ok(row("coupons")), Err(unreadable), Ok(row("stock"))];
    assert_eq!(rows, expected);
    let again = database.store().put_participant(&row("points")).await;
    assert_eq!(again.unwrap(), 1);
    let expected = ["coupons", "points", "stock"].map(row);
    assert_eq!(known(database.store()).await, expected);
}

pub async fn participants_are_replaced<D: Database>(database: &mut D) {
    let store = database.store();
    assert_eq!(known(store).await, []);
    let mut row = ParticipantRow {
        participant: "points".into(),
        protocol: "GRPC".into(),
        address: "http://127.0.0.1:7001".into(),
        methods: r#"{"exchange":{"try":"/points.v1.Points/Freeze"}}"#.into(),
        policy: r#"{"concurrency":8}"#.into(),
        paused: false,
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
    assert_eq!(known(database.store()).await, [upper, row]);
}

/// An operator's pause outlives every registration; a new participant starts as its row says.
pub async fn a_paused_participant_stays_paused<D: Database>(database: &mut D) {
    let row = |participant: &str, paused| ParticipantRow {
        participant: participant.into(),
        protocol: "ATTACH".into(),
        address: String::new(),
        methods: "{}".into(),
        policy: "{}".into(),
        paused,
        version: 1,
    };
    let store = database.store();
    for row in [
        row("coupons", true),
        row("points", false),
        row("POINTS", false),
    ] {
        assert_eq!(store.put_participant(&row).await.unwrap(), 1);
    }
    database
        .tamper("UPDATE participant_info SET paused = 1 WHERE participant = 'points'")
        .await;
    let store = database.store();
    for (participant, paused) in [("coupons", false), ("points", false), ("POINTS", true)] {
        let again = store.put_participant(&row(participant, paused)).await;
        assert_eq!(again.unwrap(), 2);
    }
    database.restart().await;
    let rows = known(database.store()).await;
    let known: Vec<(&str, bool, u32)> = rows
        .iter()
        .map(|row| (&*row.participant, row.paused, row.version))
        .collect();
    let expected = [
        ("POINTS", false, 2),
        ("coupons", true, 2),
        ("points", true, 2),
    ];
    assert_eq!(known, expected);
}

/// The store counts a participant's versions, whatever a caller's row says.
pub async fn versions_of_participants_are_counted<D: Database>(database: &mut D) {
    let store = database.store();
    let row = ParticipantRow {
        participant: "points".into(),
        protocol: "ATTACH".into(),
        address: String::new(),
        methods: "{}".into(),
        policy: "{}".into(),
        paused: false,
        version: 7,
    };
    for version in 1..4 {
        assert_eq!(store.put_participant(&row).await.unwrap(), version);
    }
    assert_eq!(known(store).await, [ParticipantRow { version: 3, ..row }]);
}
