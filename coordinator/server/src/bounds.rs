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
    /// Elements of all repeated fields and maps of one message that is taken in: twice those of a whole message of
    /// requests with as many actions as they may have. A message that makes more is not decoded.
    MESSAGE_ELEMENTS: usize = 2 * SESSION_BATCH * limits::ACTIONS;
    /// Bytes of memory that each of them counts besides its own.
    ELEMENT_BYTES: usize = 256;
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
    /// Reads of the database that sessions, `Get` and `Watch` have under way at once; further ones wait.
    READS_AT_ONCE: usize = 16;
    /// Reads of `List` that callers have under way at once, apart from the others; further ones wait.
    LISTS_AT_ONCE: usize = 4;
    /// The longest wait of a read for its turn; then it is refused.
    READ_WAIT: Duration = Duration::from_secs(5);
    /// The longest wait of a read or a registration for the database's answer; then it is refused.
    ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
    /// Replies, calls or results that travel in one message of a stream.
    STREAM_BATCH: usize = 1_024;
    /// Bytes of one message of a stream; only a call or reply that is longer by itself makes a longer one.
    STREAM_BATCH_BYTES: usize = 1024 * 1024;
    /// Bytes of one call to a participant, in the form in which it travels: what gRPC accepts by default. A longer
    /// one is not sent.
    CALL_BYTES: usize = 4 * 1024 * 1024;
    /// Connections that are open at once; further ones wait to be accepted.
    CONNECTIONS: usize = 4_096;
    /// The lowest limit of open files with which the server starts.
    DESCRIPTORS_MIN: usize = 128;
    /// File descriptors that are kept for the database, the log and the runtime.
    DESCRIPTORS_KEPT: usize = 64;
    /// The part of the other file descriptors, one in so many, that is kept for calls to registered addresses, at most
    /// `CHANNELS` of them.
    DESCRIPTORS_OF_CALLS: usize = 4;
    /// Requests and streams that are open on one connection at once; a client holds further ones back.
    CONNECTION_STREAMS: u32 = 256;
    /// Bytes of one stream that a client may send before they are read, if the window of its connection is as large.
    STREAM_WINDOW: u32 = 1024 * 1024;
    /// Bytes of all streams of one connection that a client may send before they are read, while few are open.
    CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
    /// Bytes of the windows of all connections that are divided among them as they come.
    WINDOWS_BYTES: u32 = 256 * 1024 * 1024;
    /// The part of those bytes that no connection has, one in so many, that the next one gets as its window.
    WINDOW_SHARES: u32 = 16;
    /// The least window of a connection, given whatever the others have.
    CONNECTION_WINDOW_MIN: u32 = 64 * 1024;
    /// The time in which the first request of a connection has to come.
    FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
    /// The time without a request after which a connection is closed.
    IDLE_TIMEOUT: Duration = Duration::from_mins(15);
    /// Bytes made for one connection and not yet written beyond which reads for its callers wait.
    UNREAD_BYTES: usize = 32 * 1024 * 1024;
    /// Bytes made for one connection and not yet written beyond which it is closed.
    UNREAD_CUT_BYTES: usize = 128 * 1024 * 1024;
    /// Bytes of requests of all connections that have come and that the engine has not taken in, beyond which no more
    /// are read, but one message per connection.
    REQUEST_BYTES: usize = 256 * 1024 * 1024;
    /// Bytes of requests of one connection that have come and that the engine has not taken in, beyond which no more
    /// are read, but one message.
    REQUEST_CONNECTION_BYTES: usize = 32 * 1024 * 1024;
    /// The longest wait of a request for room in those bounds; then it is refused.
    ROOM_WAIT: Duration = Duration::from_secs(5);
    /// Bytes of all connections, in queues of streams, not yet written or of requests that the engine has not taken in,
    /// beyond which the connection that has the most is closed.
    UNREAD_ALL_BYTES: usize = 512 * 1024 * 1024;
    /// Bytes that wait for one session or attached stream and are much.
    UNREAD_STREAM_BYTES: usize = 64 * 1024 * 1024;
    /// The time for which a peer may take nothing while something waits for it, before its connection is closed.
    UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
    /// The same time where much waits.
    UNREAD_TIMEOUT_MUCH: Duration = Duration::from_secs(5);
    /// The interval at which unread replies and calls are looked at.
    UNREAD_LOOK: Duration = Duration::from_secs(1);
    /// Bytes of room that a read of a transaction waits for on its caller's connection, before its size is known.
    ANSWER_BYTES: usize = 8 * 1024 * 1024;
    /// Handlers of one instance of a participant, or of one registration.
    HANDLERS: usize = 256;
    /// Handlers that are kept of all instances of one participant.
    HANDLERS_KEPT: usize = 1_024;
    /// The interval at which rows of participants that cannot be read are looked at again.
    UNREADABLE_LOOK: Duration = Duration::from_secs(10);
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
    /// Bytes of the context that travels as metadata or headers, all lines together. Each counts its name, its value
    /// and 32 more, as HTTP/2 does. Servers accept 8 KiB or more of all headers by default.
    CONTEXT_BYTES: usize = 4 * 1024;
    /// Bytes of one line of it. Servers accept 4 KiB or more of a line by default.
    CONTEXT_LINE_BYTES: usize = 2 * 1024;
    /// Bytes that are read from one connection before others have their turn.
    READ_TURN_BYTES: usize = 16 * 1024;
    /// Responses of HTTP's status 1xx that may come before the answer to one call.
    INFORMATIONAL_RESPONSES: u32 = 64;
    /// Bytes of the status and headers of an answer by HTTP.
    HTTP_HEAD_BYTES: usize = 64 * 1024;
    /// The time without a call after which a connection to an address that is called by HTTP is closed.
    HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
    /// Bytes of the headers and trailers of an answer by gRPC: a rejection's reason travels in them.
    ANSWER_HEADER_BYTES: u32 = 8 * 1024 * 1024;
    /// Bytes of one answer by gRPC that its participant may send ahead.
    STREAM_WINDOW_BYTES: u32 = 256 * 1024;
    /// Bytes of all answers that a participant may send ahead on one connection.
    CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
    /// Connections on which one call is tried, where one after the other closes before it takes the call.
    CONNECTIONS_TRIED: u32 = 3;
    /// Connections to registered addresses that are kept.
    CHANNELS: usize = 1_024;
    /// The longest time for connecting to a registered address.
    CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Rows per page of `List` when the request gives none.
    PAGE_DEFAULT: u32 = 50;
    /// The most rows per page of `List`.
    PAGE_MAX: u32 = 500;
    /// Bytes of participants after which a page of them ends.
    PARTICIPANTS_PAGE_BYTES: usize = 1024 * 1024;
    /// Bytes of an error in a list; the read of one transaction has the whole.
    LIST_ERROR_BYTES: usize = 256;
    /// The first wait between two reads of a `Watch`.
    WATCH_FIRST: Duration = Duration::from_millis(50);
    /// The longest wait between two reads of a `Watch`, while few transactions are watched.
    WATCH_MAX: Duration = Duration::from_secs(1);
    /// The least time per watched transaction between two reads of one of them: all `Watch`es of one share its reads.
    WATCH_SPACING: Duration = Duration::from_millis(2);
    /// Transactions that are watched at once.
    WATCHES: usize = 10_000;
    /// Bytes of a transaction up to which one read of it serves all its `Watch`es; of a larger one each reads its own.
    WATCH_SHARED_BYTES: usize = 16 * 1024;
    /// The time by which a step is overdue before its transaction is listed as stuck.
    STUCK_AFTER: Duration = Duration::from_secs(10);
    /// The interval at which a silent connection is probed: one of callers and attached participants by a ping of HTTP/2,
    /// one to a registered address by TCP.
    KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
    /// The longest wait for the answer to a probe before the connection is dropped.
    KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
    /// The longest time for open connections to close once everything in hand is done, and then for the lease to be
    /// ended.
    CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
    /// The longest interval between two readings of the database's clock.
    CLOCK_INTERVAL: Duration = Duration::from_secs(5);
    /// The interval at which a database that takes no writes is tried with a renewal of the lease.
    WRITE_PROBE: Duration = Duration::from_secs(1);
    /// The longest interval at which the engine's thread shows that the process runs.
    PULSE: Duration = Duration::from_millis(250);
    /// The time by which it is late from which on the process has stood still: that time counts as no one's silence.
    STANDSTILL: Duration = Duration::from_millis(500);
    /// The interval at which a draining server checks whether everything in hand is done.
    DRAIN_POLL: Duration = Duration::from_millis(20);
}
