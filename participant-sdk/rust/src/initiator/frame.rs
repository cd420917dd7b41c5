//! Requests as bytes.
//!
//! A request is encoded once, by its caller, and repeated as the same bytes. `SessionRequests` has one
//! repeated field, and protobuf merges the repeated fields of concatenated messages: a batch is its
//! requests' bytes one after the other.

use bytes::{BufMut, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use tercet_proto::v1::{SessionReplies, SessionRequest, session_request::Request};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

/// Field numbers of `SessionRequests.requests` and `SessionRequest.id`.
const REQUESTS: u32 = 1;
const ID: u32 = 1;
/// Room for two keys, a length and an id.
const MAX_PREFIX: usize = 2 + 10 + 10;

/// Encodes a request without its id.
pub(super) fn body(request: Request) -> Bytes {
    let request = SessionRequest {
        id: 0,
        request: Some(request),
    };
    request.encode_to_vec().into()
}

/// Encodes a message `SessionRequests` with one request.
pub(super) fn request(id: u64, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(MAX_PREFIX + body.len());
    let id_len = prost::encoding::uint64::encoded_len(ID, &id);
    encode_key(REQUESTS, WireType::LengthDelimited, &mut frame);
    encode_varint((id_len + body.len()) as u64, &mut frame);
    prost::encoding::uint64::encode(ID, &id, &mut frame);
    frame.extend_from_slice(body);
    frame.freeze()
}

/// Encodes a message `SessionRequests` with one Forget of an open request. It gets no answer and so
/// has no id.
pub(super) fn forget(id: u64) -> Bytes {
    request(0, &body(Request::Forget(id)))
}

/// A codec that sends batches which are already encoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchCodec;

impl Codec for BatchCodec {
    type Encode = Bytes;
    type Decode = SessionReplies;
    type Encoder = BatchEncoder;
    type Decoder = ProstDecoder<SessionReplies>;

    fn encoder(&mut self) -> Self::Encoder {
        BatchEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct BatchEncoder;

impl Encoder for BatchEncoder {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, batch: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tercet_proto::v1::{GetRequest, SessionRequests};

    use super::*;

    #[test]
    fn concatenated_frames_are_one_batch() {
        let get = |tx_id: &str| {
            Request::Get(GetRequest {
                tx_id: tx_id.into(),
                ..GetRequest::default()
            })
        };
        let first = request(1, &body(get("a")));
        let second = request(u64::MAX, &body(get(&"b".repeat(300))));
        let batch = [first, second, forget(1)].concat();
        let expected = [
            (1, get("a")),
            (u64::MAX, get(&"b".repeat(300))),
            (0, Request::Forget(1)),
        ];
        let expected = expected.map(|(id, request)| SessionRequest {
            id,
            request: Some(request),
        });
        let decoded = SessionRequests::decode(&batch[..]).unwrap();
        assert_eq!(decoded.requests, expected);
    }
}
