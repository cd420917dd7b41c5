//! Actions of handlers that their participants do not have.

use tercet_proto::v1;
use tercet_store::SqliteStore;

use super::assert_nothing_was_written;
use crate::harness::{Server, action, asking_back, begin, execute, handler, refusal};

/// Makes an action of the participant `points` with this handler and mode.
fn of(name: &str, mode: v1::Mode) -> v1::Action {
    v1::Action {
        mode: mode.into(),
        ..action(name, "points")
    }
}

fn tcc(name: &str) -> v1::Action {
    of(name, v1::Mode::Tcc)
}

async fn begun(server: &Server, action: v1::Action) -> String {
    refusal(server.coordinator().begin(begin([action])).await)
}

fn freeze() -> Vec<v1::Handler> {
    vec![handler("freeze", v1::Mode::Tcc)]
}

#[tokio::test]
async fn what_no_instance_has_had_is_refused_by_name_and_what_one_had_waits() {
    let store = SqliteStore::temporary().await.unwrap();
    let mut server = Server::on(store, |_| {}).await;
    drop(server.attach_with("points", freeze(), false).await);
    for _ in 0..2 {
        let refused = begun(&server, tcc("frezee")).await;
        assert_eq!(refused, "HANDLER_UNKNOWN: actions[0].handler");
        let refused = begun(&server, of("freeze", v1::Mode::Deliver)).await;
        assert_eq!(refused, "HANDLER_UNKNOWN: actions[0].mode");
        let refused = server.coordinator().begin(asking_back("points")).await;
        assert_eq!(refusal(refused), "HANDLER_UNKNOWN: check_back.participant");
        let wrong = execute([tcc("freeze"), tcc("frezee")], v1::Wait::Accepted);
        let refused = server.coordinator().execute(wrong).await;
        let text = refused.as_ref().unwrap_err().message().to_owned();
        assert_eq!(
            refusal(refused),
            "HANDLER_UNKNOWN: begin.actions[1].handler"
        );
        let expected = "participant points has no handler frezee; it has freeze (TCC)";
        assert!(text.contains(expected), "{text}");
        assert_nothing_was_written(&server).await;

        // It is kept, whoever is attached.
        let store = std::sync::Arc::clone(&server.store);
        server.stop();
        server.ended().await.unwrap();
        server = Server::again(store).await;
    }
    let tx_id = server.hand_over([tcc("freeze")]).await;
    let tx = server.until(&tx_id, |tx| tx.waiting_for == "points").await;
    let waits = tx.obstacles.iter().any(|it| it.contains("is not attached"));
    assert!(waits, "{:?}", tx.obstacles);
}

/// Instances before and after a deployment; a registration begins with those that are attached.
#[tokio::test]
async fn every_instance_adds_what_it_has_and_a_registration_forgets_the_others() {
    let server = Server::start().await;
    drop(server.attach_with("points", freeze(), false).await);
    let reserve = vec![handler("reserve", v1::Mode::Unspecified)];
    let attached = server.attach_with("points", reserve, true).await;
    let [first, second] = ["freeze", "reserve"].map(|name| begin([tcc(name)]));
    let before = server.begin(first.clone()).await;
    assert!(!server.begin(second.clone()).await.repeated);
    server.begin(asking_back_of_reserve()).await;

    let registration = v1::RegisterRequest {
        participant: "points".to_owned(),
        protocol: v1::Protocol::Attach.into(),
        ..v1::RegisterRequest::default()
    };
    let mut participants = server.participants();
    participants.register(registration).await.unwrap();
    let refused = begun(&server, tcc("freeze")).await;
    assert_eq!(refused, "HANDLER_UNKNOWN: actions[0].handler");
    server.begin(begin([tcc("reserve")])).await;
    let view = server.known().await.remove(0);
    assert_eq!(view.handlers, [handler("reserve", v1::Mode::Unspecified)]);
    assert!(view.answers_check_back && !view.handlers_open);

    // What took effect is answered for as before: its repetition is no refused request.
    let again = v1::BeginRequest {
        tx_id: before.tx_id.clone(),
        ..first
    };
    let repeated = server.begin(again).await;
    assert_eq!((repeated.tx_id, repeated.repeated), (before.tx_id, true));
    drop(attached);
}

fn asking_back_of_reserve() -> v1::BeginRequest {
    v1::BeginRequest {
        actions: vec![tcc("reserve")],
        ..asking_back("points")
    }
}

#[tokio::test]
async fn an_action_is_added_only_of_a_handler_that_is_there() {
    let server = Server::start().await;
    let _attached = server.attach_with("points", freeze(), false).await;
    let begun = server.begin(begin([tcc("freeze")])).await;
    let add = |action: v1::Action| v1::AddActionRequest {
        tx_id: begun.tx_id.clone(),
        action: Some(action),
    };
    let refused = server.coordinator().add_action(add(tcc("frezee"))).await;
    assert_eq!(refusal(refused), "HANDLER_UNKNOWN: action.handler");
    let second = v1::Action {
        handler: "freeze".to_owned(),
        ..tcc("second")
    };
    server.coordinator().add_action(add(second)).await.unwrap();
    assert_eq!(server.get(&begun.tx_id).await.actions.len(), 2);
}

/// A registration says which calls it has methods for.
#[tokio::test]
async fn what_a_registration_has_no_method_for_is_refused_by_name() {
    let server = Server::start().await;
    let methods = |handler: &str, [attempt, confirm, cancel]: [&str; 3]| v1::Methods {
        handler: handler.to_owned(),
        r#try: attempt.to_owned(),
        confirm: confirm.to_owned(),
        cancel: cancel.to_owned(),
    };
    let mut registration = v1::RegisterRequest {
        participant: "points".to_owned(),
        protocol: v1::Protocol::Http.into(),
        address: "http://127.0.0.1:1".to_owned(),
        methods: vec![
            methods("credit", ["", "/credit", ""]),
            methods("own", ["", "/confirm", "/cancel"]),
        ],
        ..v1::RegisterRequest::default()
    };
    let mut participants = server.participants();
    participants.register(registration.clone()).await.unwrap();
    for (wrong, refused) in [
        (tcc("spend"), "HANDLER_UNKNOWN: actions[0].handler"),
        (tcc("credit"), "HANDLER_UNKNOWN: actions[0].mode"),
    ] {
        assert_eq!(begun(&server, wrong).await, refused);
    }
    let wrong = execute([tcc("own")], v1::Wait::Accepted);
    let refused = server.coordinator().execute(wrong).await;
    assert_eq!(refusal(refused), "HANDLER_UNKNOWN: begin.actions[0].mode");
    let refused = server.coordinator().begin(asking_back("points")).await;
    let fields = "HANDLER_UNKNOWN: check_back.participant";
    assert_eq!(refusal(refused), fields);
    assert_nothing_was_written(&server).await;
    for right in [tcc("own"), of("credit", v1::Mode::Deliver)] {
        server.begin(begin([right])).await;
    }

    // One method for all: it may have any handler.
    registration.protocol = v1::Protocol::Invoke.into();
    registration.methods.clear();
    participants.register(registration).await.unwrap();
    server.begin(begin([tcc("spend")])).await;
    assert!(server.known().await[0].handlers_open);
}
