//! Whatever is legal fits into the headers that servers accept by default.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::{collection::btree_map, prelude::*};
use tercet_core::{
    id::{CallId, TxId},
    limits,
    model::{ActionSpec, Ext, Mode, Name, Operation, RetryPolicy},
    port::{AskBack, Call, Route},
};
use uuid::Uuid;

use super::{LINE_OVERHEAD, of_ask, of_call};
use crate::bounds;

/// Names up to the limit, among them those that grow most when they are encoded.
fn a_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        "\\PC{1,42}",
        Just("%".repeat(limits::NAME_BYTES)),
        Just("ÿ".repeat(limits::NAME_BYTES / 2)),
        Just(" ".repeat(limits::NAME_BYTES)),
    ]
    .prop_filter_map("a name is not longer", |name| {
        (name.len() <= limits::NAME_BYTES).then(|| name.into())
    })
}

/// Properties of a transaction and an action that are legal together.
fn properties() -> impl Strategy<Value = (Ext, Ext)> {
    let some = || btree_map("\\PC{1,8}", "\\PC{0,40}", 0..=limits::EXT_KEYS);
    let many = (1..=limits::EXT_KEYS).prop_map(|keys| {
        let bytes = limits::EXT_BYTES / limits::EXT_KEYS;
        (0..keys)
            .map(|key| (format!("{key:02}"), "v".repeat(bytes - 2)))
            .collect::<Ext>()
    });
    let one = Just(Ext::from([(
        "k".to_owned(),
        "v".repeat(limits::EXT_BYTES - 1),
    )]));
    let split = |(all, at): (Ext, usize)| {
        let tx = all.clone().into_iter().take(at).collect();
        let action = all.into_iter().skip(at).collect();
        (tx, action)
    };
    let legal =
        |all: &Ext| all.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() <= limits::EXT_BYTES;
    let all = prop_oneof![some(), many, one].prop_filter("within the limits", legal);
    (all, 0..=limits::EXT_KEYS).prop_map(split)
}

prop_compose! {
    fn a_call()(
        operation in prop::sample::select(vec![Operation::Try, Operation::Confirm, Operation::Cancel]),
        names in [a_name(), a_name(), a_name(), a_name(), a_name()],
        properties in properties(),
        result in 0..=limits::RESULT_BYTES,
        numbers in any::<(u64, u32, u64)>(),
    ) -> (Call, u64) {
        let [business_type, business_id, name, participant, handler] = names;
        let (tx_ext, ext) = properties;
        let results = if operation == Operation::Try {
            Vec::new()
        } else {
            vec![(name.clone(), Bytes::from(vec![0; result]))]
        };
        let call = Call {
            id: CallId(numbers.0),
            route: Route::Direct,
            tx: TxId(Uuid::max()),
            business_type,
            business_id,
            tx_ext,
            action: Arc::new(ActionSpec {
                name,
                mode: Mode::Compensate,
                participant,
                handler,
                payload: Bytes::new(),
                after: Vec::new(),
                wants_results: false,
                already_tried: false,
                retry: RetryPolicy::default(),
                ext,
            }),
            operation,
            attempt: numbers.1,
            results,
            timeout: Duration::from_secs(1),
            time_left: limits::TIMEOUT_MAX,
        };
        (call, numbers.2)
    }
}

fn assert_small(headers: &[(&'static str, String)]) {
    let line = |(name, value): &(&str, String)| name.len() + value.len() + LINE_OVERHEAD;
    for header in headers {
        assert!(line(header) <= bounds::CONTEXT_LINE_BYTES, "{header:?}");
        assert!(
            header.1.bytes().all(|byte| byte.is_ascii_graphic()),
            "{header:?}"
        );
    }
    let all: usize = headers.iter().map(line).sum();
    assert!(all <= bounds::CONTEXT_BYTES, "{all} bytes: {headers:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_legal_call_makes_more_headers_than_servers_accept((call, epoch) in a_call()) {
        let headers = of_call(&call, epoch).unwrap();
        assert_small(&headers);
        let rest = read(&headers);
        // Properties always travel, and a result never does after phase one.
        let sent: Ext = call.tx_ext.into_iter().chain(call.action.ext.clone()).collect();
        prop_assert_eq!(rest.ext_properties, sent);
        prop_assert!(rest.results.is_empty());
    }

    #[test]
    fn no_legal_question_makes_more_headers_than_servers_accept((call, epoch) in a_call()) {
        let mut ext = call.tx_ext;
        ext.extend(call.action.ext.clone());
        let ask = AskBack {
            id: call.id,
            route: call.route,
            tx: call.tx,
            participant: call.action.participant.clone(),
            business_type: call.business_type,
            business_id: call.business_id,
            ext,
            attempt: call.attempt,
            timeout: call.timeout,
        };
        assert_small(&of_ask(&ask, epoch));
    }
}

fn read(headers: &[(&'static str, String)]) -> tercet_proto::v1::Call {
    use prost::Message;
    let (name, value) = headers.last().unwrap();
    assert_eq!(*name, "tercet-context-bin");
    let metadata = tonic::metadata::MetadataMap::from_headers(
        [(
            http::HeaderName::from_static(name),
            http::HeaderValue::from_str(value).unwrap(),
        )]
        .into_iter()
        .collect(),
    );
    let bytes = metadata.get_bin(*name).unwrap().to_bytes().unwrap();
    tercet_proto::v1::Call::decode(bytes).unwrap()
}

/// A call with the results of earlier actions and with properties of a transaction that was begun under a higher limit.
fn overfull(operation: Operation, result: usize, property: usize) -> Call {
    let names: [Name; 3] = ["order", "7", "a"].map(Into::into);
    let [business_type, business_id, name] = names;
    Call {
        id: CallId(1),
        route: Route::Direct,
        tx: TxId(Uuid::max()),
        business_type,
        business_id,
        tx_ext: Ext::from([("k".to_owned(), "v".repeat(property))]),
        action: Arc::new(ActionSpec {
            name: name.clone(),
            mode: Mode::Tcc,
            participant: name.clone(),
            handler: name.clone(),
            payload: Bytes::new(),
            after: Vec::new(),
            wants_results: true,
            already_tried: false,
            retry: RetryPolicy::default(),
            ext: Ext::new(),
        }),
        operation,
        attempt: 1,
        results: vec![(name, Bytes::from(vec![7; result]))],
        timeout: Duration::from_secs(1),
        time_left: Duration::ZERO,
    }
}

#[test]
fn results_travel_to_a_try_or_make_it_unknown() {
    let headers = of_call(&overfull(Operation::Try, 300, 300), 1).unwrap();
    assert_eq!(read(&headers).results[0].result.len(), 300);
    assert!(headers.contains(&("tercet-time-left-ms", "0".to_owned())));
    let error = of_call(&overfull(Operation::Try, 5_000, 300), 1).unwrap_err();
    assert!(error.contains("do not fit"), "{error}");
}

#[test]
fn properties_of_an_earlier_limit_are_left_out_rather_than_the_call() {
    for operation in [Operation::Confirm, Operation::Cancel] {
        let headers = of_call(&overfull(operation, 6_000, 4_000), 1).unwrap();
        assert_small(&headers);
        assert!(read(&headers).ext_properties.is_empty());
    }
}
