//! Rows changed by hand: they are named, never guessed at, and nothing panics.

use std::path::Path;

use proptest::prelude::*;
use sqlx::{Connection as _, SqliteConnection};
use tercet_core::id::TxId;
use tercet_sdk::proto::{self, coordinator_client::CoordinatorClient};
use tercet_server::Config;
use tercet_store::{
    ParticipantRow, SqliteOptions, SqliteStore, Store, Transactions as _, Views as _,
};
use tokio::net::TcpListener;
use uuid::Uuid;

/// The columns that are parsed, with their tables.
const COLUMNS: [&str; 18] = [
    "UPDATE tx_info SET decider = ?",
    "UPDATE tx_info SET status = ?",
    "UPDATE tx_info SET biz_status = ?",
    "UPDATE tx_info SET decision_cause = ?",
    "UPDATE tx_info SET check_back_info = ?",
    "UPDATE tx_info SET participants_info = ?",
    "UPDATE tx_info SET ext_properties = ?",
    "UPDATE tx_info SET owner = ?",
    "UPDATE tx_info SET rest = ?",
    "UPDATE action_info SET action_type = ?",
    "UPDATE action_info SET participant = ?",
    "UPDATE action_info SET handler = ?",
    "UPDATE action_info SET run_after = ?",
    "UPDATE action_info SET policy = ?",
    "UPDATE action_info SET status = ?",
    "UPDATE action_info SET attempts = ?",
    "UPDATE action_info SET ext_properties = ?",
    "UPDATE action_info SET action_name = ?",
];

/// A database with one transaction in phase one.
async fn database(folder: &Path) -> TxId {
    let path = folder.join("tercet.db");
    let store = SqliteStore::open(&path, SqliteOptions::default())
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let config = Config {
        drain_timeout: std::time::Duration::ZERO,
        ..Config::default()
    };
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(store);
    let server = tokio::spawn(tercet_server::serve(listener, store, config, async {
        let _ = stopped.await;
    }));
    let mut participants = proto::participants_client::ParticipantsClient::connect(url.clone())
        .await
        .unwrap();
    let registration = proto::RegisterRequest {
        participant: "shop".to_owned(),
        protocol: proto::Protocol::Invoke.into(),
        address: "http://127.0.0.1:9".to_owned(),
        ..proto::RegisterRequest::default()
    };
    participants.register(registration).await.unwrap();
    let id = Uuid::now_v7();
    let begin = proto::BeginRequest {
        tx_id: id.to_string(),
        business_type: "exchange".to_owned(),
        business_id: "1".to_owned(),
        actions: vec![proto::Action {
            name: "freeze".to_owned(),
            mode: proto::Mode::Tcc.into(),
            participant: "shop".to_owned(),
            ..proto::Action::default()
        }],
        ..proto::BeginRequest::default()
    };
    let mut coordinator = CoordinatorClient::connect(url).await.unwrap();
    coordinator.begin(begin).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    TxId(id)
}

#[test]
fn a_row_with_any_text_in_any_column_is_read_or_named() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let id = runtime.block_on(database(folder.path()));
    let text = prop_oneof![
        any::<String>(),
        Just("{}".to_owned()),
        Just("[{}]".to_owned()),
        Just("null".to_owned()),
        Just("[[[[[[[[".to_owned()),
        Just("{\"kind\":1e999}".to_owned()),
        Just("{\"until\":1e99}".to_owned()),
        Just("{\"wants\":[{\"participant\":\"\",\"at\":-9223372036854775808}]}".to_owned()),
        Just("SUCCESS".to_owned()),
        Just("FAILURE".to_owned()),
        Just("node@18446744073709551616".to_owned()),
        (1..5_000_usize).prop_map(|depth| "[".repeat(depth)),
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(120));
    runner
        .run(&(0..COLUMNS.len(), text), |(column, text)| {
            runtime.block_on(corrupted(folder.path(), id, COLUMNS[column], &text))
        })
        .unwrap();
}

proptest! {
    #[test]
    fn a_participant_with_any_text_in_its_row_is_read_or_named(
        protocol in prop_oneof![any::<String>(), Just("GRPC".to_owned())],
        methods in prop_oneof![any::<String>(), Just("{\"handlers\":{\"a\":{\"try\":1}}}".to_owned())],
        policy in prop_oneof![any::<String>(), Just("{}".to_owned()), Just("{\"concurrency\":-1}".to_owned())],
    ) {
        let row = ParticipantRow {
            participant: "shop".into(),
            protocol,
            address: "http://127.0.0.1:9".to_owned(),
            methods,
            policy,
            paused: false,
            version: 1,
        };
        if let Err(bad) = tercet_server::directory::Participant::from_row(row) {
            prop_assert!(bad.participant.as_deref() == Some("shop"), "{:?}", bad);
        }
    }
}

/// Changes one column, reads the row in every way, and puts it back.
async fn corrupted(
    folder: &Path,
    id: TxId,
    change: &'static str,
    text: &str,
) -> Result<(), TestCaseError> {
    let copy = folder.join("copy.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("copy.db{suffix}")));
    }
    let url = format!("sqlite://{}", folder.join("tercet.db").display());
    let mut original = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("VACUUM INTO ?")
        .bind(copy.display().to_string())
        .execute(&mut original)
        .await
        .unwrap();
    let mut by_hand = SqliteConnection::connect(&format!("sqlite://{}", copy.display()))
        .await
        .unwrap();
    // A value that the table itself refuses makes no row.
    let changed = sqlx::query(change).bind(text).execute(&mut by_hand).await;
    by_hand.close().await.unwrap();
    if changed.is_err() {
        return Ok(());
    }
    let store = SqliteStore::open(&copy, SqliteOptions::default())
        .await
        .unwrap();
    let loaded = store.load(&[id]).await.unwrap();
    prop_assert_eq!(loaded.len(), 1);
    if let Some(Err(row)) = loaded.first() {
        prop_assert_eq!(row.id, id);
        prop_assert!(!row.what.is_empty());
    }
    if let Some(Err(row)) = store.view(id).await.unwrap() {
        prop_assert_eq!(row.id, id);
    }
    store
        .list(&tercet_store::ListQuery {
            limit: 10,
            ..Default::default()
        })
        .await
        .unwrap();
    store.close().await.unwrap();
    Ok(())
}
