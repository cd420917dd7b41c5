//! Requests as callers make them.

use tercet_proto::v1;

/// Makes a quick policy, so that tests do not wait.
pub(crate) fn quick(max_attempts: u32) -> v1::RetryPolicy {
    v1::RetryPolicy {
        first_delay_ms: 10,
        max_delay_ms: 50,
        max_attempts,
        max_age_ms: 0,
        call_timeout_ms: 2_000,
    }
}

/// Makes a TCC action whose payload is its name.
pub(crate) fn action(name: &str, participant: &str) -> v1::Action {
    v1::Action {
        name: name.to_owned(),
        mode: v1::Mode::Tcc.into(),
        participant: participant.to_owned(),
        payload: bytes::Bytes::from(name.to_owned()),
        retry: Some(quick(5)),
        ..v1::Action::default()
    }
}

/// Makes a TCC action that has the name of its participant.
pub(crate) fn tcc(participant: &str) -> v1::Action {
    action(participant, participant)
}

pub(crate) fn begin<const N: usize>(actions: [v1::Action; N]) -> v1::BeginRequest {
    v1::BeginRequest {
        business_type: "points_for_coupon".to_owned(),
        business_id: "order-1".to_owned(),
        timeout_ms: 10_000,
        actions: actions.into(),
        ..v1::BeginRequest::default()
    }
}

/// Makes a Begin without actions whose deadline passes at once, so that this participant is asked back.
pub(crate) fn asking_back(participant: &str) -> v1::BeginRequest {
    v1::BeginRequest {
        timeout_ms: 1,
        check_back: Some(v1::CheckBack {
            participant: participant.to_owned(),
            interval_ms: 10,
            max_interval_ms: 10,
            ..v1::CheckBack::default()
        }),
        ..begin([])
    }
}

pub(crate) fn execute<const N: usize>(
    actions: [v1::Action; N],
    wait: v1::Wait,
) -> v1::ExecuteRequest {
    v1::ExecuteRequest {
        begin: Some(begin(actions)),
        wait: wait.into(),
    }
}

/// Makes an Execute of one action for this order, waiting for its end.
pub(crate) fn of_order(business_id: &str, action: v1::Action) -> v1::ExecuteRequest {
    let begin = v1::BeginRequest {
        business_id: business_id.to_owned(),
        ..begin([action])
    };
    v1::ExecuteRequest {
        begin: Some(begin),
        wait: v1::Wait::Completed.into(),
    }
}
