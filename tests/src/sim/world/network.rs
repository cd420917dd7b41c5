//! Letters between the processes of a world: lost, repeated, late, in any order.

use std::sync::Arc;

use tercet_core::{
    id::TxId,
    model::{ActionSpec, Name},
    port::{AskBack, Call, CallAnswer, CallResult, CheckBackResult, Reply, Request, Route},
    refusal::Refusal,
};

use super::{Event, World};
use crate::sim::{faults::Fault, judge::RequestKind};

/// A message from one process to another.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A request of an initiator or operator to the coordinator.
    Request {
        /// The client's place in the plan; operators have none.
        client: Option<usize>,
        /// The client's number for the request.
        ticket: u64,
        /// Its kind, for the judge.
        kind: RequestKind,
        /// The request.
        request: Request,
    },
    /// The coordinator's reply.
    Reply {
        /// The client's place in the plan.
        client: usize,
        /// The client's number for the request.
        ticket: u64,
        /// The reply, or the refusal.
        result: Result<Reply, Refusal>,
    },
    /// The coordinator's call to a participant.
    Call {
        /// The incarnation that calls.
        epoch: u64,
        /// The call.
        call: Box<Call>,
    },
    /// A participant's answer to a call, on a connection to an incarnation.
    CallResult {
        /// The incarnation at the other end of the connection.
        epoch: u64,
        /// The answer.
        result: CallResult,
    },
    /// The coordinator's question to an initiator.
    AskBack {
        /// The incarnation that asks.
        epoch: u64,
        /// The question.
        question: Box<AskBack>,
    },
    /// An initiator's answer to a check-back, on a connection to an incarnation.
    CheckBackResult {
        /// The incarnation at the other end of the connection.
        epoch: u64,
        /// The answer.
        result: CheckBackResult,
    },
    /// A Try that an initiator calls itself.
    OwnTry {
        /// The client's place in the plan.
        client: usize,
        /// The client's number for the call.
        ticket: u64,
        /// The transaction.
        tx: TxId,
        /// The action.
        action: Arc<ActionSpec>,
    },
    /// A participant's answer to such a Try.
    OwnTried {
        /// The client's place in the plan.
        client: usize,
        /// The client's number for the call.
        ticket: u64,
        /// The action.
        action: Name,
        /// The answer.
        answer: CallAnswer,
    },
}

impl Letter {
    fn tx(&self) -> Option<TxId> {
        match self {
            Self::Request { request, .. } => Some(request.id()),
            Self::Reply { result, .. } => result.as_ref().ok().map(|reply| reply.transaction.id()),
            Self::Call { call, .. } => Some(call.tx),
            Self::CallResult { result, .. } => Some(result.tx),
            Self::AskBack { question, .. } => Some(question.tx),
            Self::CheckBackResult { result, .. } => Some(result.tx),
            Self::OwnTry { tx, .. } => Some(*tx),
            Self::OwnTried { .. } => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Request { kind, .. } => format!("request {kind:?}"),
            Self::Reply { .. } => "reply".into(),
            Self::Call { call, .. } => {
                format!(
                    "{} of {} (call {})",
                    call.operation, call.action.name, call.id.0
                )
            }
            Self::CallResult { result, .. } => format!(
                "answer to {} of {} (call {})",
                result.operation, result.action, result.call.0
            ),
            Self::AskBack { .. } => "check-back".into(),
            Self::CheckBackResult { .. } => "answer to the check-back".into(),
            Self::OwnTry { action, .. } => format!("the initiator's TRY of {}", action.name),
            Self::OwnTried { action, .. } => format!("answer to the initiator's TRY of {action}"),
        }
    }
}

impl World {
    /// Sends a letter on its way.
    pub(super) fn send(&mut self, letter: Letter) {
        if self.faults.strikes(Fault::MessageLost) {
            let tx = letter.tx();
            self.note(tx, || format!("lost: {}", letter.words()));
            return;
        }
        if self.faults.strikes(Fault::MessageRepeated) {
            let tx = letter.tx();
            self.note(tx, || format!("repeated: {}", letter.words()));
            self.carry(letter.clone());
        }
        self.carry(letter);
    }

    fn carry(&mut self, letter: Letter) {
        let wait = if self.faults.strikes(Fault::MessageLate) {
            let wait = self.dice.millis(50, 12_000);
            let tx = letter.tx();
            self.note(tx, || format!("late by {wait:?}: {}", letter.words()));
            wait
        } else {
            self.dice.millis(0, 3)
        };
        self.after(wait, Event::Arrives(Box::new(letter)));
    }

    /// Passes a letter to the process that it is for.
    pub(super) fn arrives(&mut self, letter: Letter) {
        match letter {
            Letter::Request {
                client,
                ticket,
                kind,
                request,
            } => self.request_arrives(client, ticket, kind, request),
            Letter::Reply {
                client,
                ticket,
                result,
            } => self.reply_arrives(client, ticket, result),
            Letter::Call { epoch, call } => self.call_arrives(epoch, &call),
            Letter::CallResult { epoch, result } => self.call_result_arrives(epoch, result),
            Letter::AskBack { epoch, question } => self.question_arrives(epoch, &question),
            Letter::CheckBackResult { epoch, result } => {
                self.check_back_result_arrives(epoch, result);
            }
            Letter::OwnTry {
                client,
                ticket,
                tx,
                action,
            } => self.own_try_arrives(client, ticket, tx, &action),
            Letter::OwnTried {
                client,
                ticket,
                action,
                answer,
            } => self.own_tried_arrives(client, ticket, &action, &answer),
        }
    }

    /// Returns whether a connection to an incarnation still stands.
    pub(super) fn is_connected(&self, epoch: u64, route: Route) -> bool {
        self.process.as_ref().is_some_and(|process| {
            process.owner.epoch == epoch
                && match route {
                    Route::Stream(stream) => process.streams.contains_key(&stream),
                    Route::Direct => true,
                }
        })
    }
}
