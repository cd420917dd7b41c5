-- Tercet's tables on SQLite.
--
-- Times are whole microseconds since 1970-01-01 UTC by this database's clock; ids are the 16 bytes of a
-- UUIDv7; names are compared byte by byte. The view tx_readable shows both as a person reads them.
-- Whatever the coordinator changes, it changes by comparing tx_info.version first; so must you: a
-- coordinator that holds the row in memory notices by the version that it has moved.

-- One transaction: a business action that spans several participants.
CREATE TABLE tx_info (
    -- A UUIDv7: ordered by time, made by the initiator or by the coordinator.
    tx_id             BLOB    NOT NULL PRIMARY KEY CHECK (length(tx_id) = 16),
    -- What kind of business this is, for example points_for_coupon.
    business_type     TEXT    NOT NULL,
    -- Which one, for example the order number.
    business_id       TEXT    NOT NULL,
    -- NULL, or where (business_type, business_id) must be unique: the length of the type in bytes, two
    -- bytes, most significant first, then the type, then the id.
    unique_key        BLOB,
    -- Who makes the Tries and decides: COORDINATOR (Execute) or INITIATOR (Begin, AddAction, Decide).
    driver            TEXT    NOT NULL,
    -- How far the work is: PROCESS_WAITING, PROCESSING, SUCCESS, or FAILURE (parked: a person must look).
    status            TEXT    NOT NULL,
    -- The business outcome: INIT, UNKNOWN (the initiator is being asked back), and then for good SUCCESS
    -- or FAILURE.
    biz_status        TEXT    NOT NULL,
    -- JSON: why the decision is what it is. NULL until there is one.
    decision_cause    TEXT,
    -- How often the initiator was asked back.
    retry_count       INTEGER NOT NULL,
    -- JSON: whom to ask when no decision came in time, and how often. NULL: nobody.
    check_back_info   TEXT,
    -- JSON: names, participants and modes of the actions that came with the begin.
    participants_info TEXT    NOT NULL,
    -- JSON: the caller's own words. NULL: none.
    ext_properties    TEXT,
    -- The fence: writes of the transaction, from 1.
    version           INTEGER NOT NULL,
    -- Who drives it: node@epoch.
    owner             TEXT    NOT NULL,
    -- The participant of the next call. NULL: it waits for none.
    waiting_for       TEXT,
    -- When somebody must look at it again. NULL once status is SUCCESS or FAILURE, and only then.
    next_attempt_at   INTEGER,
    -- When phase one ends.
    deadline_at       INTEGER NOT NULL,
    -- When it was begun.
    create_time       INTEGER NOT NULL,
    -- When the decision was made.
    decided_at        INTEGER,
    -- When status became SUCCESS.
    finished_at       INTEGER,
    -- When the row was written last.
    db_update_time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest transaction of a business, and lists of them.
CREATE INDEX tx_business ON tx_info (business_type, business_id);

-- One transaction a business, where that was asked for.
CREATE UNIQUE INDEX tx_unique_key ON tx_info (unique_key) WHERE unique_key IS NOT NULL;

-- Which rows are due: every unfinished one is in here, no finished one is.
CREATE INDEX tx_due ON tx_info (waiting_for, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- The parked ones, so that a person finds them among any number of finished ones.
CREATE INDEX tx_parked ON tx_info (status) WHERE status = 'FAILURE';

-- One participant's share of a transaction.
CREATE TABLE action_info (
    tx_id          BLOB    NOT NULL CHECK (length(tx_id) = 16),
    -- Unique in the transaction.
    action_name    TEXT    NOT NULL,
    -- Its place in the transaction, from 0.
    position       INTEGER NOT NULL,
    -- The mode: TCC, COMPENSATE or DELIVER.
    action_type    TEXT    NOT NULL,
    -- Whom to call, and which of its handlers.
    participant    TEXT    NOT NULL,
    handler        TEXT    NOT NULL,
    -- The bytes that are handed to every operation.
    payload        BLOB    NOT NULL,
    -- JSON: names of the actions that come first. NULL: none.
    run_after      TEXT,
    -- 1: its Try is given the results of those.
    wants_results  INTEGER NOT NULL,
    -- 1: the initiator's own share, tried before it was registered.
    already_tried  INTEGER NOT NULL,
    -- JSON: when a call is repeated, and how long one may take; in milliseconds. NULL: the defaults.
    policy         TEXT,
    -- The bytes that its Try returned.
    result         BLOB    NOT NULL,
    -- INIT, TRIED, REJECTED, CONFIRMED, CANCELLED, or FAILED (it cannot finish by itself). INIT in a
    -- transaction whose biz_status is SUCCESS reads as TRIED.
    status         TEXT    NOT NULL,
    -- Calls of phase two that were authorised after the first.
    retry_count    INTEGER NOT NULL,
    -- The last thing that went wrong; empty: nothing.
    last_error     TEXT    NOT NULL,
    -- JSON: the last calls that did not go well at once, with times in microseconds. NULL: none.
    attempts       TEXT,
    -- JSON: the caller's own words. NULL: none.
    ext_properties TEXT,
    -- Writes of the row, from 1.
    version        INTEGER NOT NULL,
    -- When it was begun or added.
    create_time    INTEGER NOT NULL,
    -- When it reached its final status.
    finished_at    INTEGER,
    -- When the row was written last.
    db_update_time INTEGER NOT NULL,
    PRIMARY KEY (tx_id, action_name)
) STRICT, WITHOUT ROWID;

-- Who can be called, and how.
CREATE TABLE participant_info (
    participant    TEXT    NOT NULL PRIMARY KEY,
    -- ATTACH (on streams that it opens), INVOKE, GRPC or HTTP (at its address).
    protocol       TEXT    NOT NULL,
    -- Where it is called; empty for ATTACH.
    address        TEXT    NOT NULL,
    -- JSON: handler to methods.
    methods        TEXT    NOT NULL,
    -- JSON: its limits.
    policy         TEXT    NOT NULL,
    -- Writes of the row, from 1.
    version        INTEGER NOT NULL,
    -- When the row was written last.
    db_update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Which coordinators there are.
CREATE TABLE coordinator_node (
    node_id        TEXT    NOT NULL PRIMARY KEY,
    -- Raised at each start of the node.
    epoch          INTEGER NOT NULL,
    -- Where it is reached.
    address        TEXT    NOT NULL,
    -- JSON: names of the participants that are attached to it.
    participants   TEXT    NOT NULL,
    -- It is taken for dead after this time.
    lease_until    INTEGER NOT NULL,
    -- When the row was written last.
    db_update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What operators did, and why. One row a command: it made this version of the transaction.
CREATE TABLE operator_log (
    tx_id          BLOB    NOT NULL CHECK (length(tx_id) = 16),
    -- The version of tx_info that it made.
    version        INTEGER NOT NULL,
    -- When it was carried out.
    at             INTEGER NOT NULL,
    -- The command with its arguments.
    command        TEXT    NOT NULL,
    -- Why, in the operator's words.
    reason         TEXT    NOT NULL,
    -- The statuses before it.
    before         TEXT    NOT NULL,
    -- When the row was written, by this database's clock.
    db_update_time INTEGER NOT NULL,
    PRIMARY KEY (tx_id, version)
) STRICT, WITHOUT ROWID;

-- tx_info for a person: SELECT * FROM tx_readable ORDER BY tx_id DESC LIMIT 20;
CREATE VIEW tx_readable AS
SELECT
    lower(
        substr(hex(tx_id), 1, 8) || '-' || substr(hex(tx_id), 9, 4) || '-' ||
        substr(hex(tx_id), 13, 4) || '-' || substr(hex(tx_id), 17, 4) || '-' ||
        substr(hex(tx_id), 21)
    ) AS tx_id,
    business_type,
    business_id,
    status,
    biz_status,
    decision_cause,
    owner,
    waiting_for,
    strftime('%Y-%m-%d %H:%M:%f', next_attempt_at / 1e6, 'unixepoch') AS next_attempt_at,
    strftime('%Y-%m-%d %H:%M:%f', deadline_at / 1e6, 'unixepoch') AS deadline_at,
    strftime('%Y-%m-%d %H:%M:%f', create_time / 1e6, 'unixepoch') AS create_time,
    strftime('%Y-%m-%d %H:%M:%f', decided_at / 1e6, 'unixepoch') AS decided_at,
    strftime('%Y-%m-%d %H:%M:%f', finished_at / 1e6, 'unixepoch') AS finished_at,
    version,
    participants_info,
    ext_properties
FROM tx_info;
