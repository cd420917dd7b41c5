//! A participant on a port of its own with a script.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tercet_proto::v1::{
    self,
    participant_server::{Participant, ParticipantServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, metadata::KeyAndValueRef};

type Metadata = BTreeMap<String, String>;

/// The reaction of a participant to a call, by the call's number from 0.
type Script = dyn Fn(usize, &v1::Call) -> Result<v1::Result, Status> + Send + Sync;

/// A participant that keeps the calls that it gets.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) calls: Arc<Mutex<Vec<(Metadata, v1::Call)>>>,
    script: Arc<Script>,
    delay: Duration,
    at_once: Option<u32>,
}

impl Scripted {
    pub(super) fn new(
        script: impl Fn(usize, &v1::Call) -> Result<v1::Result, Status> + Send + Sync + 'static,
    ) -> Self {
        Self {
            calls: Arc::default(),
            script: Arc::new(script),
            delay: Duration::ZERO,
            at_once: None,
        }
    }

    /// Delays every answer.
    pub(super) fn slow(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Takes at most so many calls at once on a connection.
    pub(super) fn at_once(self, calls: u32) -> Self {
        Self {
            at_once: Some(calls),
            ..self
        }
    }

    /// Serves on a free port; returns the address.
    pub(super) async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        self.serve_on(listener);
        address
    }

    pub(super) fn serve_on(&self, listener: TcpListener) {
        let service = ParticipantServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .max_concurrent_streams(self.at_once)
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
    }
}

#[tonic::async_trait]
impl Participant for Scripted {
    async fn invoke(&self, request: Request<v1::Call>) -> Result<Response<v1::Result>, Status> {
        let metadata = metadata(&request);
        let call = request.into_inner();
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push((metadata, call.clone()));
            calls.len() - 1
        };
        tokio::time::sleep(self.delay).await;
        (self.script)(number, &call).map(Response::new)
    }

    async fn check_back(
        &self,
        request: Request<v1::CheckBackCall>,
    ) -> Result<Response<v1::CheckBackResult>, Status> {
        let question = request.into_inner();
        let mut response = Response::new(v1::CheckBackResult {
            epoch: question.epoch,
            call_id: question.call_id,
            tx_id: question.tx_id,
            outcome: v1::Outcome::Failure.into(),
            error: String::new(),
        });
        response
            .metadata_mut()
            .insert("tercet-outcome", "FAILURE".parse().unwrap());
        Ok(response)
    }
}

fn metadata<T>(request: &Request<T>) -> Metadata {
    let pairs = request.metadata().iter().filter_map(|pair| match pair {
        KeyAndValueRef::Ascii(key, value) => {
            Some((key.to_string(), value.to_str().unwrap().to_owned()))
        }
        KeyAndValueRef::Binary(..) => None,
    });
    pairs.collect()
}
