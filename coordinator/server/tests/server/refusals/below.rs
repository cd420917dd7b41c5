//! Refusals by the layers below the services, which know nothing of reasons: each has its reason all the same.

use bytes::{BufMut as _, Bytes};
use prost::Message as _;
use tercet_proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::assert_nothing_was_written;
use crate::harness::{Server, execute, framed, hello, send, tcc};

const BEGIN: &str = "/tercet.v1.Coordinator/Begin";
const EXECUTE: &str = "/tercet.v1.Coordinator/Execute";
const SESSION: &str = "/tercet.v1.Coordinator/Session";
const ATTACH: &str = "/tercet.v1.Participants/Attach";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A field with a number that no message has, cut off.
const CUT_OFF: &[u8] = b"\x0a\x7fabc";
/// A text in the first field that is not UTF-8.
const NOT_UTF8: &[u8] = b"\x0a\x02\xff\xfe";

/// Returns the code and the reason of a status.
fn coded(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info();
    let info = info.unwrap_or_else(|| panic!("no reason in {status:?}"));
    assert_eq!(info.domain, "tercet");
    (status.code(), info.reason.clone())
}

/// Returns the head of a message that is longer than any that is accepted.
fn too_long() -> Vec<u8> {
    let mut head = vec![0];
    head.put_u32(9 * 1024 * 1024);
    head
}

/// Sends a call, and asserts with which code and reason it is refused.
async fn assert_refused(server: &Server, path: &str, body: Vec<u8>, code: Code, reason: &str) {
    let status = send(server, path, &[], body.clone()).await;
    assert_eq!(coded(&status), (code, reason.to_owned()), "{path} {body:?}");
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_with_a_reason() {
    let server = Server::start().await;
    let nothing = framed(b"");
    let flagged = |flag: u8| [&[flag], &nothing[1..]].concat();
    for body in [
        framed(CUT_OFF),
        framed(NOT_UTF8),
        nothing[..3].to_vec(),
        Vec::new(),
        // Compressed, with no word of how.
        flagged(1),
        flagged(7),
    ] {
        let code = Code::InvalidArgument;
        assert_refused(&server, BEGIN, body, code, "MALFORMED_MESSAGE").await;
    }
    for path in [BEGIN, SESSION] {
        let code = Code::InvalidArgument;
        assert_refused(&server, path, framed(CUT_OFF), code, "MALFORMED_MESSAGE").await;
        assert_refused(&server, path, too_long(), code, "MESSAGE_TOO_LONG").await;
    }
    assert_nothing_was_written(&server).await;
}

#[tokio::test]
async fn what_does_not_exist_is_refused_with_a_reason() {
    let server = Server::start().await;
    for path in [
        "/",
        "/tercet.v1.Coordinator/None",
        "/tercet.v9.Coordinator/Begin",
    ] {
        let code = Code::Unimplemented;
        assert_refused(&server, path, framed(b""), code, "METHOD_UNKNOWN").await;
    }
    // The health of a service that does not exist.
    let service = framed(b"\x0a\x07unknown");
    assert_refused(&server, HEALTH, service, Code::NotFound, "METHOD_UNKNOWN").await;
    let status = send(&server, BEGIN, &[("grpc-encoding", "gzip")], framed(b"")).await;
    let expected = (Code::Unimplemented, "COMPRESSION_UNKNOWN".to_owned());
    assert_eq!(coded(&status), expected);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_says_where() {
    let server = Server::start().await;
    let status = send(&server, BEGIN, &[], framed(NOT_UTF8)).await;
    assert!(status.message().contains("tx_id"), "{status:?}");
}

#[tokio::test]
async fn an_attached_stream_ends_with_the_reason_for_which_its_results_cannot_be_read() {
    let server = Server::start().await;
    for (bytes, reason) in [
        (framed(CUT_OFF), "MALFORMED_MESSAGE"),
        (too_long(), "MESSAGE_TOO_LONG"),
    ] {
        let mut body = framed(&hello("points", 1).encode_to_vec());
        body.extend(bytes);
        let status = send(&server, ATTACH, &[], body).await;
        assert_eq!(coded(&status), (Code::InvalidArgument, reason.to_owned()));
    }
}

#[tokio::test]
async fn a_caller_whose_own_deadline_passes_learns_that() {
    let server = Server::start().await;
    let mut points = server.attach("points").await;
    let request = execute([tcc("points")], v1::Wait::Completed);
    let body = framed(&Bytes::from(request.encode_to_vec()));
    let status = send(&server, EXECUTE, &[("grpc-timeout", "200m")], body).await;
    let expected = (Code::DeadlineExceeded, "CALLER_DEADLINE".to_owned());
    assert_eq!(coded(&status), expected);
    // It goes on.
    points.agree_to(v1::Operation::Try).await;
    points.agree_to(v1::Operation::Confirm).await;
}
