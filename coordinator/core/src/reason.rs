//! The stable reason codes of errors.

use crate::words::words;

words! {
    /// The reason why a request was refused: a stable code, each with a page in `docs/errors`.
    Reason {
        /// An action of that name exists with another body.
        ActionReused = "ACTION_REUSED",
        /// The transaction is decided; no action can be added.
        AlreadyDecided = "ALREADY_DECIDED",
        /// A participant broke the protocol of Attach.
        AttachProtocol = "ATTACH_PROTOCOL",
        /// No transaction of that business exists.
        BusinessNotFound = "BUSINESS_NOT_FOUND",
        /// The caller's own deadline passed before the answer.
        CallerDeadline = "CALLER_DEADLINE",
        /// The request is compressed in a way that is not understood.
        CompressionUnknown = "COMPRESSION_UNKNOWN",
        /// The database refuses a value of the request.
        ContentRefused = "CONTENT_REFUSED",
        /// The transaction's rows are not legal, or that of a participant which the request names.
        CorruptRow = "CORRUPT_ROW",
        /// Phase one is over; no action can be added.
        DeadlinePassed = "DEADLINE_PASSED",
        /// The opposite decision stands.
        DecisionConflict = "DECISION_CONFLICT",
        /// The node is stopping.
        Draining = "DRAINING",
        /// The coordinator makes the Tries and decides an Execute.
        ExecuteDecides = "EXECUTE_DECIDES",
        /// A participant is not known to have a handler for an action, or to answer check-backs.
        HandlerUnknown = "HANDLER_UNKNOWN",
        /// A part of the server failed.
        Internal = "INTERNAL",
        /// Fields of the request are wrong.
        InvalidArgument = "INVALID_ARGUMENT",
        /// The bytes of the request are no message.
        MalformedMessage = "MALFORMED_MESSAGE",
        /// The request is longer than any that is accepted.
        MessageTooLong = "MESSAGE_TOO_LONG",
        /// No method, or no service, of that name exists.
        MethodUnknown = "METHOD_UNKNOWN",
        /// The action to resolve is not FAILED.
        NotFailed = "NOT_FAILED",
        /// The transaction is not parked.
        NotParked = "NOT_PARKED",
        /// It is not known whether the request took effect.
        OutcomeUnknown = "OUTCOME_UNKNOWN",
        /// Too much is under way.
        Overloaded = "OVERLOADED",
        /// The participant is registered at an address, so no instance of it attaches.
        ParticipantRegistered = "PARTICIPANT_REGISTERED",
        /// The request names participants that are not known.
        ParticipantUnknown = "PARTICIPANT_UNKNOWN",
        /// Phase one has time left; the initiator decides.
        PhaseOneRuns = "PHASE_ONE_RUNS",
        /// An open request of the session has the same number.
        RequestIdOpen = "REQUEST_ID_OPEN",
        /// The session has as many open requests as it may.
        SessionFull = "SESSION_FULL",
        /// The database does not answer.
        StoreUnavailable = "STORE_UNAVAILABLE",
        /// The id is too old or too new for a begin.
        TxIdExpired = "TX_ID_EXPIRED",
        /// A transaction of that id exists with another body.
        TxIdReused = "TX_ID_REUSED",
        /// No transaction has that id.
        TxNotFound = "TX_NOT_FOUND",
    }
}
