//! `Session`: the same requests, many at once over one stream. No task per request: one task reads, and
//! the stream of replies is fed by the driver, a batch at each drain.

use futures::Stream;
use tercet_proto::v1::{self, session_reply::Reply as Told, session_request::Request as Wanted};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{
    Api, convert, coordinator,
    error::{ApiError, Violation},
    lookup,
};
use crate::{
    directory::Known,
    driver::{Answered, Asked, Driver, Message, SessionId},
    limits,
};

/// Opens a session; the stream is what it answers. Dropping the stream closes the session.
pub(super) async fn open(
    api: Api,
    requests: Streaming<v1::SessionRequests>,
) -> impl Stream<Item = Result<v1::SessionReplies, Status>> {
    let id = SessionId(api.driver.next_id());
    let (sender, answers) = mpsc::unbounded_channel();
    let (end, ended) = mpsc::channel(1);
    let driver = api.driver.clone();
    driver.send(Message::SessionOpened(id, sender)).await;
    tokio::spawn(read(api, id, requests, end));
    replies(answers, ended, Closing { driver, id })
}

/// Closes the session when the caller is gone.
struct Closing {
    driver: Driver,
    id: SessionId,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.driver.post(Message::SessionClosed(self.id));
    }
}

/// Reads until the caller ends its side, breaks a rule or the server closes. A caller that only ends its
/// side is still answered: the session stays open until the stream of replies is dropped.
async fn read(
    api: Api,
    id: SessionId,
    mut requests: Streaming<v1::SessionRequests>,
    end: mpsc::Sender<Status>,
) {
    loop {
        let message = tokio::select! {
            message = requests.message() => message,
            () = end.closed() => return,
            () = api.closing.cancelled() => {
                let draining = super::refused(tercet_core::refusal::Refusal::Draining);
                let _ = end.send(draining).await;
                return;
            }
        };
        let batch = match message {
            Ok(Some(batch)) => batch.requests,
            Ok(None) => {
                tokio::select! {
                    () = end.closed() => {}
                    () = api.closing.cancelled() => {}
                }
                return;
            }
            Err(status) => {
                let _ = end.send(status).await;
                return;
            }
        };
        if batch.len() > limits::SESSION_BATCH {
            let wrong = ApiError::Invalid(vec![Violation {
                field: "requests".to_owned(),
                description: format!(
                    "has {} requests; at most {} are accepted in one message",
                    batch.len(),
                    limits::SESSION_BATCH
                ),
            }]);
            let _ = end.send(wrong.into()).await;
            return;
        }
        let known = api.directory().snapshot();
        let asks = batch
            .into_iter()
            .map(|request| asked(&api, request, &known))
            .collect();
        api.driver.send(Message::SessionAsks(id, asks)).await;
    }
}

fn asked(api: &Api, request: v1::SessionRequest, known: &Known) -> (u64, Asked) {
    let id = request.id;
    let asked = match request.request {
        Some(Wanted::Begin(begin)) => coordinator::begin(api, begin, known).map(Asked::Engine),
        Some(Wanted::AddAction(add)) => coordinator::add_action(add, known).map(Asked::Engine),
        Some(Wanted::Decide(decide)) => coordinator::decide(decide).map(Asked::Engine),
        Some(Wanted::Execute(execute)) => {
            coordinator::execute(api, execute, known).map(Asked::Engine)
        }
        Some(Wanted::Get(get)) => lookup(get).map(Asked::Read),
        Some(Wanted::Forget(open)) => return (open, Asked::Forget),
        None => Err(ApiError::Invalid(vec![Violation {
            field: "request".to_owned(),
            description: "is missing; give one of begin, add_action, decide, execute, get, forget"
                .to_owned(),
        }])),
    };
    (id, asked.unwrap_or_else(Asked::Refused))
}

/// The stream of replies: everything that is ready travels together, up to a bound.
fn replies(
    answers: mpsc::UnboundedReceiver<Vec<(u64, Answered)>>,
    ended: mpsc::Receiver<Status>,
    closing: Closing,
) -> impl Stream<Item = Result<v1::SessionReplies, Status>> {
    let state = (answers, ended, Vec::new().into_iter(), Some(closing));
    futures::stream::unfold(
        state,
        |(mut answers, mut ended, mut left, closing)| async move {
            closing.as_ref()?;
            if left.len() == 0 {
                let mut batches = Vec::new();
                tokio::select! {
                    biased;
                    received = answers.recv_many(&mut batches, limits::STREAM_BATCH) => {
                        if received == 0 {
                            return None;
                        }
                    }
                    // The reader is gone; without a status only because the server is.
                    status = ended.recv() => {
                        return status.map(|status| (Err(status), (answers, ended, left, None)));
                    }
                }
                left = batches
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .into_iter();
            }
            let replies = v1::SessionReplies {
                replies: bounded(&mut left),
            };
            Some((Ok(replies), (answers, ended, left, closing)))
        },
    )
}

fn bounded(left: &mut std::vec::IntoIter<(u64, Answered)>) -> Vec<v1::SessionReply> {
    let mut replies = Vec::with_capacity(left.len().min(limits::STREAM_BATCH));
    let mut bytes = 0;
    while replies.len() < limits::STREAM_BATCH && bytes < limits::STREAM_BATCH_BYTES {
        let Some((id, answer)) = left.next() else {
            break;
        };
        let reply = match answer {
            Answered::State(Ok(reply)) => {
                let state = convert::state(reply);
                bytes += state
                    .actions
                    .iter()
                    .map(|action| action.result.len())
                    .sum::<usize>();
                Told::State(state)
            }
            Answered::State(Err(refusal)) => Told::Error(ApiError::from(refusal).into()),
            Answered::Read(Ok(transaction)) => {
                bytes += prost::Message::encoded_len(&*transaction);
                Told::Transaction(*transaction)
            }
            Answered::Read(Err(error)) | Answered::Refused(error) => Told::Error(error.into()),
        };
        replies.push(v1::SessionReply {
            id,
            reply: Some(reply),
        });
    }
    replies
}
