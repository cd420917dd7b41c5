//! Generic invocation of any unary gRPC method: the action's payload is the request message's bytes, the
//! context travels as metadata, the response message's bytes are what the Try returned.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tercet_core::{
    engine::{AskBack, Call, CallOutcome},
    limits as model,
    model::{Operation, Outcome},
};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{
    context, invoke, said,
    wire::{self, compact},
};

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

pub(super) async fn call(channel: Channel, path: &str, call: &Call, epoch: u64) -> CallOutcome {
    let metadata = context::binary(call, epoch)
        .and_then(|binary| metadata(context::of_call(call, epoch), &binary));
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return CallOutcome::Unknown(error),
    };
    match unary(channel, path, call.action.payload.clone(), metadata).await {
        Err(status) => invoke::of_status(&status),
        // What a Confirm or Cancel returns is nobody's.
        Ok(_) if call.operation != Operation::Try => CallOutcome::Ok(Bytes::new()),
        Ok(answer) => CallOutcome::Ok(compact(answer.get_ref())),
    }
}

pub(super) async fn ask(
    channel: Channel,
    path: &str,
    ask: &AskBack,
    epoch: u64,
) -> Result<Outcome, String> {
    let binary = wire::ask_back(ask, epoch).encode_to_vec();
    let metadata = metadata(context::of_ask(ask, epoch), &binary)?;
    match unary(channel, path, Bytes::new(), metadata).await {
        Err(status) => Err(invoke::text(&status)),
        Ok(answer) => {
            let outcome = answer.metadata().get(context::OUTCOME);
            said(outcome.and_then(|value| value.to_str().ok()))
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
    let mut client = Grpc::new(channel).max_decoding_message_size(model::RESULT_BYTES);
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let mut request = Request::new(message);
    *request.metadata_mut() = metadata;
    client.unary(request, path, Raw).await
}
