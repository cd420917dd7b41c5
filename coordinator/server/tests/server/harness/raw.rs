//! Bytes of any form over HTTP/2, as no client would send them.

use bytes::{BufMut as _, Bytes};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tonic::Status;

use super::{PATIENCE, Server};

/// Returns a message with the head that gRPC puts before it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(message);
    frame
}

/// Sends the head and the whole body of a call, and returns the status with which it ends.
pub(crate) async fn send(
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Status {
    let address = server.address.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let ended = timeout(PATIENCE, async {
        let response = sender.send_request(request).await.unwrap();
        let head = Status::from_header_map(response.headers());
        let body = response.into_body().collect().await.unwrap();
        body.trailers().and_then(Status::from_header_map).or(head)
    });
    let status = ended.await.expect("the call ends").expect("a status");
    connection.abort();
    status
}
