//! Letters between the processes of a world: lost, repeated, late, in any order.

use std::sync::Arc;

use tercet_core::{
    engine::{Answer, AskBack, Call, CallOutcome, CheckBackAnswer, Reply, Request, Route},
    id::TxId,
    model::{ActionSpec, Name},
    refusal::Refusal,
};

use super::{Event, World};
use crate::sim::{faults::Fault, judge::Asked};

/// Something on its way from one process to another.
#[derive(Clone, Debug)]
pub enum Letter {
    /// An initiator or operator asks the coordinator.
    Request {
        /// Who: a place in the plan; operators have none.
        client: Option<usize>,
        /// The client's number for it.
        ticket: u64,
        /// What is asked for, for the judge.
        asked: Asked,
        /// What is asked for.
        request: Request,
    },
    /// The coordinator answers.
    Reply {
        /// Whom.
        client: usize,
        /// The client's number.
        ticket: u64,
        /// The answer.
        result: Result<Reply, Refusal>,
    },
    /// The coordinator calls a participant.
    Call {
        /// The incarnation that calls.
        epoch: u64,
        /// The call.
        call: Box<Call>,
    },
    /// A participant answers on a connection to an incarnation.
    Answer {
        /// The incarnation at the other end of the connection.
        epoch: u64,
        /// What it says.
        answer: Answer,
    },
    /// The coordinator asks an initiator back.
    AskBack {
        /// The incarnation that asks.
        epoch: u64,
        /// The question.
        question: Box<AskBack>,
    },
    /// An initiator answers to that.
    AskedBack {
        /// The incarnation at the other end of the connection.
        epoch: u64,
        /// What it says.
        answer: CheckBackAnswer,
    },
    /// An initiator calls a Try itself.
    OwnTry {
        /// Whose.
        client: usize,
        /// The client's number.
        ticket: u64,
        /// The transaction.
        tx: TxId,
        /// The action.
        action: Arc<ActionSpec>,
    },
    /// The answer to that.
    OwnTried {
        /// Whose.
        client: usize,
        /// The client's number.
        ticket: u64,
        /// The action.
        action: Name,
        /// What came of it.
        outcome: CallOutcome,
    },
}

impl Letter {
    fn tx(&self) -> Option<TxId> {
        match self {
            Self::Request { request, .. } => Some(request.id()),
            Self::Reply { result, .. } => result.as_ref().ok().map(|reply| reply.transaction.id()),
            Self::Call { call, .. } => Some(call.tx),
            Self::Answer { answer, .. } => Some(answer.tx),
            Self::AskBack { question, .. } => Some(question.tx),
            Self::AskedBack { answer, .. } => Some(answer.tx),
            Self::OwnTry { tx, .. } => Some(*tx),
            Self::OwnTried { .. } => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Request { asked, .. } => format!("request {asked:?}"),
            Self::Reply { .. } => "reply".into(),
            Self::Call { call, .. } => {
                format!(
                    "{} of {} (call {})",
                    call.operation, call.action.name, call.id.0
                )
            }
            Self::Answer { answer, .. } => format!(
                "answer to {} of {} (call {})",
                answer.operation, answer.action, answer.call.0
            ),
            Self::AskBack { .. } => "check-back".into(),
            Self::AskedBack { .. } => "answer to the check-back".into(),
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

    /// A letter is there.
    pub(super) fn arrives(&mut self, letter: Letter) {
        match letter {
            Letter::Request {
                client,
                ticket,
                asked,
                request,
            } => self.request_arrives(client, ticket, asked, request),
            Letter::Reply {
                client,
                ticket,
                result,
            } => self.reply_arrives(client, ticket, result),
            Letter::Call { epoch, call } => self.call_arrives(epoch, &call),
            Letter::Answer { epoch, answer } => self.answer_arrives(epoch, answer),
            Letter::AskBack { epoch, question } => self.question_arrives(epoch, &question),
            Letter::AskedBack { epoch, answer } => self.asked_back_arrives(epoch, answer),
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
                outcome,
            } => self.own_tried_arrives(client, ticket, &action, &outcome),
        }
    }

    /// Whether a connection to an incarnation still stands.
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
