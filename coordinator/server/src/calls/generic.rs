//! Generic invocation of any unary gRPC method: the action's payload is the request message's bytes, the context
//! travels as metadata, the response message's bytes are the result of a Try.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tercet_core::{
    limits,
    model::{Operation, Outcome},
    port::{AskBack, Call, CallAnswer},
};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::invoke;
use crate::wire::{self, compact, context};

/// Passes messages through as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls a method; returns the participant's answer.
pub(super) async fn call(channel: Channel, path: &str, call: &Call, epoch: u64) -> CallAnswer {
    let metadata = context::binary(call, epoch)
        .and_then(|binary| metadata(context::of_call(call, epoch), &binary));
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return CallAnswer::Unknown(error),
    };
    match unary(channel, path, call.action.payload.clone(), metadata).await {
        Err(status) => invoke::of_status(&status),
        // A Confirm or Cancel has no result.
        Ok(_) if call.operation != Operation::Try => CallAnswer::Ok(Bytes::new()),
        Ok(answer) => CallAnswer::Ok(compact(answer.get_ref())),
    }
}

/// Asks an initiator back; returns its answer.
pub(super) async fn ask_back(
    channel: Channel,
    path: &str,
    ask: &AskBack,
    epoch: u64,
) -> Result<Outcome, String> {
    let binary = wire::calls::ask_back(ask, epoch).encode_to_vec();
    let metadata = metadata(context::of_ask(ask, epoch), &binary)?;
    match unary(channel, path, Bytes::new(), metadata).await {
        Err(status) => Err(invoke::text(&status)),
        Ok(answer) => {
            let outcome = answer.metadata().get(context::OUTCOME);
            context::outcome(outcome.and_then(|value| value.to_str().ok()))
        }
    }
}

fn metadata(pairs: Vec<(&'static str, String)>, binary: &[u8]) -> Result<MetadataMap, String> {
    let mut metadata = MetadataMap::new();
    for (name, value) in pairs {
        let value = value
            .parse()
            .map_err(|_| format!("{name} cannot be metadata"))?;
        metadata.insert(name, value);
    }
    metadata.insert_bin(context::BINARY, MetadataValue::from_bytes(binary));
    Ok(metadata)
}

async fn unary(
    channel: Channel,
    path: &str,
    message: Bytes,
    metadata: MetadataMap,
) -> Result<Response<Bytes>, Status> {
    let path: PathAndQuery = path
        .parse()
        .map_err(|_| Status::internal(format!("{path} is no method")))?;
    let mut client = Grpc::new(channel).max_decoding_message_size(limits::RESULT_BYTES);
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata;
    client.unary(request, path, Raw).await
}
