//! Every bound of the server that is not the model's. `docs/configuration.md` explains each.

use std::time::Duration;

use tercet_core::limits;

limits! {
    /// Messages that wait for the engine; the sender of a further one waits.
    QUEUE_MESSAGES: usize = 4_096;
    /// Messages that the engine handles before its calls and replies are sent.
    DRAIN_MESSAGES: usize = 1_024;
    /// Results of writes that the engine handles before its calls and replies are sent.
    RESULTS_AT_ONCE: usize = 16;
    /// Bytes of one gRPC message that is taken in.
    MESSAGE_BYTES: usize = 8 * 1024 * 1024;
    /// Requests of one message of a session.
    SESSION_BATCH: usize = 1_024;
    /// Requests of one session that are open at once.
    SESSION_OPEN: usize = 16_384;
    /// Replies of one session that do not come from the engine and wait to be sent; reading its requests waits
    /// for a place.
    SESSION_REPLIES: usize = 64;
    /// Violations that one error carries: its details travel in HTTP/2 headers, which are small.
    VIOLATIONS_REPORTED: usize = 24;
    /// Bytes of fields and descriptions after which an error carries no further violation.
    VIOLATIONS_BYTES: usize = 2 * 1024;
    /// Bytes of the message of an error; a longer one is cut.
    ERROR_MESSAGE_BYTES: usize = 1024;
    /// Violations that the message of an error repeats, for callers that do not read its details.
    VIOLATIONS_IN_MESSAGE: usize = 6;
    /// Reads of the database that sessions, `Get`, `List` and `Watch` have under way at once; further ones
    /// wait.
    READS_AT_ONCE: usize = 16;
    /// Replies, calls or results that travel in one message of a stream.
    STREAM_BATCH: usize = 1_024;
    /// Bytes of payloads and results after which a batch of calls or replies is sent in a message of its
    /// own.
    STREAM_BATCH_BYTES: usize = 1024 * 1024;
    /// Handlers of one participant.
    HANDLERS: usize = 256;
    /// Calls that one stream may take at once.
    STREAM_CONCURRENCY: u32 = 100_000;
    /// The longest wait for the Hello of an attached stream.
    HELLO_TIMEOUT: Duration = Duration::from_secs(10);
    /// Calls made at once to a participant at an address, when its registration gives none.
    CONCURRENCY_DEFAULT: u32 = 64;
    /// The most calls made at once to a participant at an address.
    CONCURRENCY_MAX: u32 = 10_000;
    /// Bytes of a registered address, method or path.
    ADDRESS_BYTES: usize = 512;
    /// Participants that may be known.
    PARTICIPANTS: usize = 10_000;
    /// Bytes of the context that travels as metadata or header.
    CONTEXT_BYTES: usize = 8 * 1024;
    /// Connections to registered addresses that are kept.
    CHANNELS: usize = 1_024;
    /// The longest time for connecting to a registered address.
    CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Rows per page of `List` when the request gives none.
    PAGE_DEFAULT: u32 = 50;
    /// The most rows per page of `List`.
    PAGE_MAX: u32 = 500;
    /// Bytes of an error in a list; the read of one transaction has the whole.
    LIST_ERROR_BYTES: usize = 256;
    /// The first wait between two reads of a `Watch`.
    WATCH_FIRST: Duration = Duration::from_millis(50);
    /// The longest wait between two reads of a `Watch`.
    WATCH_MAX: Duration = Duration::from_secs(1);
    /// The time by which a step is overdue before its transaction is listed as stuck.
    STUCK_AFTER: Duration = Duration::from_secs(10);
    /// The interval at which a silent connection is probed.
    KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
    /// The longest wait for the answer to a probe before the connection is dropped.
    KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
    /// The longest time for open connections to close once everything in hand is done.
    CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// The interval at which a draining server checks whether everything in hand is done.
    DRAIN_POLL: Duration = Duration::from_millis(20);
}
