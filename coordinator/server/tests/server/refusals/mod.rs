//! Bad input of every request: the reason, the fields it names, and that nothing was written.

mod begins;
mod below;
mod elements;
mod handlers;
mod registrations;
mod requests;
mod words;

use tercet_store::Views as _;

use crate::harness::Server;

/// A table of bad requests, one per line: the case, the request, and the fields that its refusal names, sorted.
macro_rules! cases {
    ($($case:literal: $request:expr => $fields:literal;)+) => {
        vec![$(($case, $request, $fields)),+]
    };
}
use cases;

/// Returns a refusal with `INVALID_ARGUMENT` that names these fields.
fn invalid(fields: &str) -> String {
    format!("INVALID_ARGUMENT: {fields}")
}

async fn assert_nothing_was_written(server: &Server) {
    let all = tercet_store::ListQuery {
        limit: 10,
        ..tercet_store::ListQuery::default()
    };
    let found = server.store.list(&all).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}
