//! Every bound of the server that is not the model's. `docs/configuration.md` explains each.

use std::time::Duration;

/// Messages that wait for the engine; whoever sends a further one waits.
pub const QUEUE_MESSAGES: usize = 4_096;
/// Messages that the engine takes in before it hands out what came of them.
pub const DRAIN_MESSAGES: usize = 1_024;
/// Writes of one commit with whose outcome the engine goes on before what came of them is handed out.
pub const SETTLED_AT_ONCE: usize = 16;
/// Bytes of one gRPC message that is taken in.
pub const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Requests of one message of a session.
pub const SESSION_BATCH: usize = 1_024;
/// Requests of one session that are open at once.
pub const SESSION_OPEN: usize = 16_384;
/// Reads of the database that sessions, `Get`, `List` and `Watch` have under way at once; further ones
/// wait.
pub const READS_AT_ONCE: usize = 16;
/// Replies, calls or results that travel in one message of a stream.
pub const STREAM_BATCH: usize = 1_024;
/// Bytes of payloads and results after which a batch of calls or replies is sent in a message of its
/// own.
pub const STREAM_BATCH_BYTES: usize = 1024 * 1024;
/// Handlers of one participant.
pub const HANDLERS: usize = 256;
/// Calls that one stream may take at once.
pub const STREAM_CONCURRENCY: u32 = 100_000;
/// How long an attached stream may take to say Hello.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls made at once to a participant that is called at an address, when it does not say.
pub const CONCURRENCY_DEFAULT: u32 = 64;
/// The most calls made at once to a participant that is called at an address.
pub const CONCURRENCY_MAX: u32 = 10_000;
/// Bytes of a registered address, method or path.
pub const ADDRESS_BYTES: usize = 512;
/// Participants that may be known.
pub const PARTICIPANTS: usize = 10_000;
/// Bytes of the context that travels as metadata or header.
pub const CONTEXT_BYTES: usize = 8 * 1024;
/// Connections to registered addresses that are kept.
pub const CHANNELS: usize = 1_024;
/// How long connecting to a registered address may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows of a page of `List` when the request does not say.
pub const PAGE_DEFAULT: u32 = 50;
/// The most rows of a page of `List`.
pub const PAGE_MAX: u32 = 500;
/// The first wait between two reads of a `Watch`.
pub const WATCH_FIRST: Duration = Duration::from_millis(50);
/// The longest wait between two reads of a `Watch`.
pub const WATCH_MAX: Duration = Duration::from_secs(1);
/// How overdue a step is before its transaction is listed as stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);
/// The longest wait between the deadline and the first question to an initiator.
pub const CHECK_BACK_FIRST_DELAY_MAX: Duration = Duration::from_hours(24);
/// The wait after the first answer UNKNOWN of an initiator, when the request does not say.
pub const CHECK_BACK_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// The longest wait after the first answer UNKNOWN of an initiator.
pub const CHECK_BACK_INTERVAL_MAX: Duration = Duration::from_hours(1);
/// The cap of the wait between two questions to an initiator, when the request does not say.
pub const CHECK_BACK_MAX_INTERVAL_DEFAULT: Duration = Duration::from_mins(1);
/// The longest cap of the wait between two questions to an initiator.
pub const CHECK_BACK_MAX_INTERVAL_MAX: Duration = Duration::from_hours(24);
/// The most questions to an initiator after which FAILURE is decided.
pub const CHECK_BACK_ATTEMPTS_MAX: u32 = 10_000;
/// How often a silent connection is asked whether it still lives.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long that answer may take before the connection is dropped.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open connections may take to close once everything in hand is done.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a draining server looks whether everything in hand is done.
pub const DRAIN_POLL: Duration = Duration::from_millis(20);
