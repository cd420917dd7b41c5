//! `Coordinator`: for initiators, and for whoever looks.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use tercet_core::{engine::Request as Ask, id::TxId, limits as model, model::TxStatus};
use tercet_proto::v1::{self, coordinator_server::Coordinator};
use tercet_store::ListQuery;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Api, convert,
    error::ApiError,
    lookup, session,
    validate::{self, At, Beginning, Violations},
};
use crate::{driver::Lookup, limits};

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the engine is asked for an Execute.
pub(super) fn execute(
    api: &Api,
    request: v1::ExecuteRequest,
    known: &crate::directory::Known,
) -> Result<Ask, ApiError> {
    let Some(begin) = request.begin else {
        return Err(missing("begin"));
    };
    let wait = wait(request.wait, Accepts::Accepted);
    match (api.begin(begin, Beginning::Execute, known), wait) {
        (Ok(new), Ok(wait)) => Ok(Ask::Begin(Arc::new(new), wait)),
        (Err(ApiError::Invalid(mut list)), Err(violation)) => {
            list.push(violation);
            Err(ApiError::Invalid(list))
        }
        (Err(error), _) => Err(error),
        (Ok(_), Err(violation)) => Err(ApiError::Invalid(vec![violation])),
    }
}

/// What the engine is asked for a Begin.
pub(super) fn begin(
    api: &Api,
    request: v1::BeginRequest,
    known: &crate::directory::Known,
) -> Result<Ask, ApiError> {
    let new = api.begin(request, Beginning::Begin, known)?;
    Ok(Ask::Begin(
        Arc::new(new),
        tercet_core::engine::Wait::Accepted,
    ))
}

/// What the engine is asked for an `AddAction`.
pub(super) fn add_action(
    request: v1::AddActionRequest,
    known: &crate::directory::Known,
) -> Result<Ask, ApiError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    let spec = if let Some(action) = request.action {
        validate::action(action, &At::field("action"), known, &mut v)
    } else {
        v.add("action", "is missing; give the action to add");
        None
    };
    v.finish()?;
    match (id, spec) {
        (Some(id), Some(spec)) => Ok(Ask::AddAction(id, Arc::new(spec))),
        _ => Err(missing("action")),
    }
}

/// What the engine is asked for a Decide.
pub(super) fn decide(request: v1::DecideRequest) -> Result<Ask, ApiError> {
    let mut v = Violations::default();
    let id = v.tx_id(&At::field("tx_id"), &request.tx_id);
    let outcome = validate::outcome(request.outcome, &mut v);
    v.text(&At::field("reason"), &request.reason, model::REASON_BYTES);
    let wait = match wait(request.wait, Accepts::Decided) {
        Ok(wait) => Some(wait),
        Err(violation) => {
            v.add(violation.field, violation.description);
            None
        }
    };
    v.finish()?;
    match (id, outcome, wait) {
        (Some(id), Some(outcome), Some(wait)) => Ok(Ask::Decide(id, outcome, request.reason, wait)),
        _ => Err(missing("outcome")),
    }
}

fn missing(field: &str) -> ApiError {
    ApiError::Invalid(vec![super::error::Violation {
        field: field.to_owned(),
        description: "is missing".to_owned(),
    }])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepts {
    Accepted,
    Decided,
}

fn wait(wait: i32, accepts: Accepts) -> Result<tercet_core::engine::Wait, super::error::Violation> {
    use tercet_core::engine::Wait;
    match v1::Wait::try_from(wait) {
        Ok(v1::Wait::Unspecified | v1::Wait::Decided) => Ok(Wait::Decided),
        Ok(v1::Wait::Completed) => Ok(Wait::Completed),
        Ok(v1::Wait::Accepted) if accepts == Accepts::Accepted => Ok(Wait::Accepted),
        _ => Err(super::error::Violation {
            field: "wait".to_owned(),
            description: match accepts {
                Accepts::Accepted => "is unknown; give DECIDED, COMPLETED or ACCEPTED",
                Accepts::Decided => "is not accepted here; give DECIDED or COMPLETED",
            }
            .to_owned(),
        }),
    }
}

#[tonic::async_trait]
impl Coordinator for Api {
    async fn begin(&self, request: Request<v1::BeginRequest>) -> Answer<v1::TransactionState> {
        let known = self.directory().snapshot();
        self.ask(begin(self, request.into_inner(), &known)?).await
    }

    async fn add_action(
        &self,
        request: Request<v1::AddActionRequest>,
    ) -> Answer<v1::TransactionState> {
        let known = self.directory().snapshot();
        self.ask(add_action(request.into_inner(), &known)?).await
    }

    async fn decide(&self, request: Request<v1::DecideRequest>) -> Answer<v1::TransactionState> {
        self.ask(decide(request.into_inner())?).await
    }

    async fn execute(&self, request: Request<v1::ExecuteRequest>) -> Answer<v1::TransactionState> {
        let known = self.directory().snapshot();
        self.ask(execute(self, request.into_inner(), &known)?).await
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Answer<v1::Transaction> {
        let lookup = lookup(request.into_inner())?;
        Ok(Response::new(self.reader.get(lookup).await?))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Answer<v1::ListReply> {
        let query = list_query(request.get_ref(), self.reader.clock.now())?;
        Ok(Response::new(self.reader.list(&query).await?))
    }

    type WatchStream = Streamed<v1::Transaction>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Answer<Self::WatchStream> {
        let mut v = Violations::default();
        let id = v.tx_id(&At::field("tx_id"), &request.into_inner().tx_id);
        v.finish()?;
        let id = id.ok_or_else(|| missing("tx_id"))?;
        let first = self.reader.get(Lookup::Id(id)).await?;
        Ok(Response::new(Box::pin(watch(self.clone(), id, first))))
    }

    type SessionStream = Streamed<v1::SessionReplies>;

    async fn session(
        &self,
        request: Request<Streaming<v1::SessionRequests>>,
    ) -> Answer<Self::SessionStream> {
        let replies = session::open(self.clone(), request.into_inner()).await;
        Ok(Response::new(Box::pin(replies)))
    }
}

/// Where a watch is.
enum Watching {
    /// It begins with this.
    First(Box<v1::Transaction>),
    /// It has shown this version and waits this long before the next look.
    Seen(u32, Duration),
    /// It has shown the last.
    Over,
}

/// States of one transaction by reading it again and again, until it is final or parked.
fn watch(
    api: Api,
    id: TxId,
    first: v1::Transaction,
) -> impl Stream<Item = Result<v1::Transaction, Status>> {
    let start = Watching::First(Box::new(first));
    futures::stream::unfold((api, start), move |(api, at)| async move {
        let (seen, mut wait) = match at {
            Watching::First(first) => return Some((Ok(*first.clone()), (api, after(&first)))),
            Watching::Seen(version, wait) => (version, wait),
            Watching::Over => return None,
        };
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = api.closing.cancelled() => {
                    let draining = super::refused(tercet_core::refusal::Refusal::Draining);
                    return Some((Err(draining), (api, Watching::Over)));
                }
            }
            match api.reader.get(Lookup::Id(id)).await {
                Err(error) => return Some((Err(error.into()), (api, Watching::Over))),
                Ok(now) if now.version > seen => {
                    let next = after(&now);
                    return Some((Ok(now), (api, next)));
                }
                Ok(_) => wait = (wait * 3 / 2).min(limits::WATCH_MAX),
            }
        }
    })
}

fn after(shown: &v1::Transaction) -> Watching {
    match shown.status() {
        v1::TxStatus::Success | v1::TxStatus::Failure => Watching::Over,
        _ => Watching::Seen(shown.version, limits::WATCH_FIRST),
    }
}

fn list_query(
    request: &v1::ListRequest,
    now: tercet_core::time::Timestamp,
) -> Result<ListQuery, ApiError> {
    let mut v = Violations::default();
    let given = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    for (field, value) in [
        ("business_type", &request.business_type),
        ("business_id", &request.business_id),
        ("participant", &request.participant),
    ] {
        if !value.is_empty() {
            v.name(&At::field(field), value);
        }
    }
    let statuses = words(&request.statuses, "statuses", convert::status_from, &mut v);
    let biz_statuses = words(
        &request.biz_statuses,
        "biz_statuses",
        convert::biz_status_from,
        &mut v,
    );
    let ago = |v: &mut Violations, field: &str, millis: i64| match u64::try_from(millis) {
        Ok(0) => None,
        Ok(millis) => Some(now - Duration::from_millis(millis)),
        Err(_) => {
            v.add(
                field,
                format!("is {millis}; a negative duration is not accepted"),
            );
            None
        }
    };
    let begun_until = ago(&mut v, "older_than_ms", request.older_than_ms);
    let begun_from = ago(&mut v, "younger_than_ms", request.younger_than_ms);
    if request.page_size > limits::PAGE_MAX {
        v.add(
            "page_size",
            format!(
                "is {}; at most {} are accepted",
                request.page_size,
                limits::PAGE_MAX
            ),
        );
    }
    let before = if request.cursor.is_empty() {
        None
    } else {
        v.tx_id(&At::field("cursor"), &request.cursor)
    };
    v.finish()?;
    Ok(ListQuery {
        business_type: given(&request.business_type),
        business_id: given(&request.business_id),
        statuses,
        biz_statuses,
        participant: given(&request.participant),
        begun_until,
        begun_from,
        stuck_since: request.stuck.then(|| now - limits::STUCK_AFTER),
        before,
        limit: match request.page_size {
            0 => limits::PAGE_DEFAULT,
            given => given,
        },
    })
}

fn words<T>(
    values: &[i32],
    field: &str,
    from: impl Fn(i32) -> Option<T>,
    v: &mut Violations,
) -> Vec<T> {
    // More values than there are words would only repeat some.
    if values.len() > TxStatus::ALL.len() * 4 {
        v.add(field, "has too many values; give each once");
        return Vec::new();
    }
    let root = At::field("");
    values
        .iter()
        .enumerate()
        .filter_map(|(i, value)| {
            let word = from(*value);
            if word.is_none() {
                v.add(
                    &root.index(field, i),
                    format!("is {value}, which is no status; leave it out"),
                );
            }
            word
        })
        .collect()
}
