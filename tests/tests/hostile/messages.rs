//! Messages of initiators, operators and participants.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use prost::Message as _;
use tercet_sdk::{
    initiator::ContextLayer,
    proto::{
        self, coordinator_client::CoordinatorClient, operator_client::OperatorClient,
        participants_client::ParticipantsClient, session_request::Request,
    },
};
use tercet_server::{
    Config,
    grpc::doors::{self, KNOWN},
};
use tercet_store::{ListQuery, SqliteStore, Store, Views as _};
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _};

/// Any text, and texts near the limits.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        3 => "[a-z]{1,8}",
        1 => Just(String::new()),
        1 => any::<String>(),
        1 => Just("a\0b".to_owned()),
        1 => (100..200_usize).prop_map(|length| "ä".repeat(length)),
        1 => Just(KNOWN.to_owned()),
        1 => Just(uuid::Uuid::now_v7().to_string()),
    ]
    .boxed()
}

fn id() -> BoxedStrategy<String> {
    prop_oneof![
        3 => Just(uuid::Uuid::now_v7().to_string()),
        1 => Just(uuid::Uuid::nil().to_string()),
        1 => Just("ffffffff-ffff-7fff-bfff-ffffffffffff".to_owned()),
        1 => Just("00000000-0000-7000-8000-000000000000".to_owned()),
        1 => text(),
    ]
    .boxed()
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..20)
}

fn policy() -> impl Strategy<Value = proto::RetryPolicy> {
    (
        any::<i64>(),
        any::<i64>(),
        any::<u32>(),
        any::<i64>(),
        any::<i64>(),
    )
        .prop_map(
            |(first_delay_ms, max_delay_ms, max_attempts, max_age_ms, call_timeout_ms)| {
                proto::RetryPolicy {
                    first_delay_ms,
                    max_delay_ms,
                    max_attempts,
                    max_age_ms,
                    call_timeout_ms,
                }
            },
        )
}

fn action() -> BoxedStrategy<proto::Action> {
    let flags = (any::<bool>(), any::<bool>());
    let payload = prop_oneof![Just(0_usize), 0..100_usize, Just(70_000)];
    (
        (text(), -1..5_i32, text(), text(), payload),
        prop::collection::vec(text(), 0..4),
        flags,
        prop::option::of(policy()),
        words(),
    )
        .prop_map(
            |((name, mode, participant, handler, payload), after, flags, retry, ext_properties)| {
                proto::Action {
                    name,
                    mode,
                    participant,
                    handler,
                    payload: vec![7; payload].into(),
                    after,
                    wants_results: flags.0,
                    already_tried: flags.1,
                    retry,
                    ext_properties,
                }
            },
        )
        .boxed()
}

fn begin() -> BoxedStrategy<proto::BeginRequest> {
    let check_back = (
        text(),
        any::<i64>(),
        any::<i64>(),
        any::<i64>(),
        any::<u32>(),
    )
        .prop_map(
            |(participant, first_delay_ms, interval_ms, max_interval_ms, max_attempts)| {
                proto::CheckBack {
                    participant,
                    first_delay_ms,
                    interval_ms,
                    max_interval_ms,
                    max_attempts,
                }
            },
        );
    (
        (id(), text(), text(), any::<bool>()),
        prop_oneof![Just(0), any::<i64>(), 0..100_000_i64],
        prop::collection::vec(action(), 0..5),
        prop::option::weighted(0.2, check_back),
        words(),
    )
        .prop_map(
            |(
                (tx_id, business_type, business_id, unique_business),
                timeout_ms,
                actions,
                check_back,
                ext_properties,
            )| {
                proto::BeginRequest {
                    tx_id,
                    business_type,
                    business_id,
                    unique_business,
                    timeout_ms,
                    actions,
                    check_back,
                    ext_properties,
                }
            },
        )
        .boxed()
}

fn request() -> BoxedStrategy<Request> {
    prop_oneof![
        begin().prop_map(Request::Begin),
        (prop::option::of(begin()), any::<i32>())
            .prop_map(|(begin, wait)| Request::Execute(proto::ExecuteRequest { begin, wait })),
        (id(), prop::option::of(action())).prop_map(|(tx_id, action)| Request::AddAction(
            proto::AddActionRequest { tx_id, action }
        )),
        (id(), -1..4_i32, text(), -1..5_i32).prop_map(|(tx_id, outcome, reason, wait)| {
            Request::Decide(proto::DecideRequest {
                tx_id,
                outcome,
                reason,
                wait,
            })
        }),
        (id(), text(), text()).prop_map(|(tx_id, business_type, business_id)| {
            Request::Get(proto::GetRequest {
                tx_id,
                business_type,
                business_id,
            })
        }),
    ]
    .boxed()
}

fn check(
    answers: Vec<Result<(), tercet_server::error::RequestError>>,
) -> Result<(), TestCaseError> {
    for refused in answers.into_iter().filter_map(Result::err) {
        let violations = refused.violations();
        prop_assert!(!violations.is_empty(), "{}", refused);
        for violation in violations {
            prop_assert!(
                !violation.field.is_empty() && !violation.description.is_empty(),
                "{}",
                refused
            );
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_no_message_or_taken_or_refused_by_field(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(answers) = doors::session(&bytes) {
            check(answers)?;
        }
        if let Some(answer) = doors::register(&bytes) {
            check(vec![answer])?;
        }
        doors::results(&bytes);
    }

    #[test]
    fn any_request_is_taken_or_refused_by_field(request in request()) {
        let message = proto::SessionRequests {
            requests: vec![proto::SessionRequest { id: 1, request: Some(request) }],
        };
        check(doors::session(&message.encode_to_vec()).unwrap())?;
    }

    #[test]
    fn any_bytes_cut_out_of_a_message_too(request in request(), from in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let message = proto::SessionRequests {
            requests: vec![proto::SessionRequest { id: 1, request: Some(request) }],
        };
        let mut bytes = message.encode_to_vec();
        let at = from.index(bytes.len());
        bytes[at] = byte;
        if let Some(answers) = doors::session(&bytes) {
            check(answers)?;
        }
        bytes.truncate(at);
        doors::session(&bytes);
    }

    #[test]
    fn any_context_in_metadata_is_read_or_answered_as_wrong(
        id in id(), action in text(), words in prop::collection::vec(any::<String>(), 6), binary in prop::option::of(any::<String>())
    ) {
        let mut headers = http::HeaderMap::new();
        let names = ["tercet-operation", "tercet-mode", "tercet-business-type", "tercet-business-id",
            "tercet-time-left-ms", "tercet-attempt"];
        let given = [("tercet-tx-id", &id), ("tercet-action", &action)]
            .into_iter()
            .chain(names.into_iter().zip(&words))
            .chain(binary.as_ref().map(|it| ("tercet-context-bin", it)));
        for (name, value) in given {
            if let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) {
                headers.insert(name, value);
            }
        }
        let mut request = http::Request::new(());
        *request.headers_mut() = headers;
        let inner = tower::service_fn(|_: http::Request<()>| async {
            Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
        });
        let answer = futures::executor::block_on(ContextLayer::server().layer(inner).call(request)).unwrap();
        prop_assert_eq!(answer.status(), http::StatusCode::OK);
    }
}

/// Checks that a refusal has the details that callers rely on.
fn is_typed(status: &Status) -> Result<(), TestCaseError> {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return Err(TestCaseError::fail(format!("no ErrorInfo: {status:?}")));
    };
    prop_assert_eq!(&info.domain, "tercet");
    if status.code() == Code::InvalidArgument {
        let fields = details
            .bad_request()
            .map_or(0, |bad| bad.field_violations.len());
        prop_assert!(fields > 0, "no field: {:?}", status);
    }
    Ok(())
}

/// One server for all cases of a property.
struct Server {
    runtime: tokio::runtime::Runtime,
    store: Arc<SqliteStore>,
    url: String,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (store, url) = runtime.block_on(async {
            let store = Arc::new(SqliteStore::temporary().await.unwrap());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let shared: Arc<dyn Store> = Arc::<SqliteStore>::clone(&store);
            let never = std::future::pending::<()>();
            tokio::spawn(tercet_server::serve(
                listener,
                shared,
                Config::default(),
                never,
            ));
            let mut participants = ParticipantsClient::connect(url.clone()).await.unwrap();
            let known = proto::RegisterRequest {
                participant: KNOWN.to_owned(),
                protocol: proto::Protocol::Invoke.into(),
                address: "http://127.0.0.1:9".to_owned(),
                ..proto::RegisterRequest::default()
            };
            participants.register(known).await.unwrap();
            (store, url)
        });
        Self {
            runtime,
            store,
            url,
        }
    }

    fn transactions(&self) -> usize {
        let query = ListQuery {
            limit: 1_000,
            ..ListQuery::default()
        };
        self.runtime
            .block_on(self.store.list(&query))
            .unwrap()
            .len()
    }

    fn send(&self, request: Request) -> Result<(), Status> {
        self.runtime.block_on(async {
            let mut client = CoordinatorClient::connect(self.url.clone()).await.unwrap();
            match request {
                Request::Begin(it) => client.begin(it).await.map(drop),
                Request::Execute(mut it) => {
                    // The participant answers no call, so only this wait ends.
                    if (0..=2).contains(&it.wait) {
                        it.wait = proto::Wait::Accepted.into();
                    }
                    client.execute(it).await.map(drop)
                }
                Request::AddAction(it) => client.add_action(it).await.map(drop),
                Request::Decide(it) => client.decide(it).await.map(drop),
                Request::Get(it) => client.get(it).await.map(drop),
                Request::Forget(_) => Ok(()),
            }
        })
    }
}

#[test]
fn any_request_to_a_server_is_answered_and_what_is_refused_has_written_nothing() {
    let server = Server::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    runner
        .run(&request(), |request| {
            let before = server.transactions();
            if let Err(status) = server.send(request) {
                is_typed(&status)?;
                prop_assert_eq!(server.transactions(), before);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_command_of_an_operator_is_answered() {
    let server = Server::start();
    let given = (
        id(),
        prop::collection::vec(text(), 0..4),
        -1..9_i32,
        text(),
        -1..4_i32,
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
    runner
        .run(&given, |(tx_id, actions, status, reason, outcome)| {
            let refused = server.runtime.block_on(async {
                let mut operator = OperatorClient::connect(server.url.clone()).await.unwrap();
                let retry = proto::RetryRequest {
                    tx_id: tx_id.clone(),
                    reason: reason.clone(),
                };
                let resolve = proto::ResolveRequest {
                    tx_id: tx_id.clone(),
                    actions,
                    r#as: status,
                    reason: reason.clone(),
                };
                let decide = proto::OperatorDecideRequest {
                    tx_id,
                    outcome,
                    reason,
                };
                [
                    operator.retry(retry).await.unwrap_err(),
                    operator.resolve(resolve).await.unwrap_err(),
                    operator.decide(decide).await.unwrap_err(),
                ]
            });
            refused.iter().try_for_each(is_typed)
        })
        .unwrap();
}
