-- The place where each unfinished transaction waits, in a table of its own; the id of each write.
--
-- The program before this version cannot use these tables. On SQLite it never runs beside this one: one process has
-- the file. To go back, put a back-up of before in place.

DROP VIEW tx_readable;
DROP INDEX tx_business;
DROP INDEX tx_unique_key;
DROP INDEX tx_due;
DROP INDEX tx_parked;

-- Made anew, so that each column stands with its comment: driver is decider now; waiting_for and next_attempt_at are
-- gone; rest and write_id are new.
ALTER TABLE tx_info RENAME TO tx_info_2;

-- One transaction: a business action that spans several participants.
CREATE TABLE tx_info (
    -- A UUIDv7: ordered by time, made by the initiator or by the coordinator.
    tx_id             BLOB    NOT NULL PRIMARY KEY CHECK (length(tx_id) = 16),
    -- The kind of business, for example points_for_coupon.
    business_type     TEXT    NOT NULL,
    -- The business, for example the order number.
    business_id       TEXT    NOT NULL,
    -- NULL, or where (business_type, business_id) must be unique: the length of the type in bytes, two bytes, most
    -- significant first, then the type, then the id.
    unique_key        BLOB,
    -- The party that makes the Tries and decides: COORDINATOR (Execute) or INITIATOR (Begin, AddAction, Decide).
    decider           TEXT    NOT NULL,
    -- The progress of the work: PROCESS_WAITING, PROCESSING, SUCCESS, or FAILURE (parked: a person must look).
    status            TEXT    NOT NULL,
    -- The business outcome: INIT, UNKNOWN (the initiator is being asked back), and then for good SUCCESS or FAILURE.
    biz_status        TEXT    NOT NULL,
    -- JSON: the cause of the decision. NULL until there is one.
    decision_cause    TEXT,
    -- The number of questions to the initiator.
    retry_count       INTEGER NOT NULL,
    -- JSON: the initiator to ask when no decision came in time, and how often. NULL: it is not asked.
    check_back_info   TEXT,
    -- JSON: names, participants and modes of the actions that came with the begin.
    participants_info TEXT    NOT NULL,
    -- JSON: the caller's own properties. NULL: none.
    ext_properties    TEXT,
    -- The fence: the number of writes of the transaction.
    version           INTEGER NOT NULL,
    -- A random number of the last write, by which a coordinator recognises its own.
    write_id          INTEGER NOT NULL,
    -- The incarnation of a coordinator that made the last write: node@epoch. It has the transaction in hand, unless the
    -- transaction is at rest or over.
    owner             TEXT    NOT NULL,
    -- JSON, with times in microseconds: the state of a transaction at rest. NULL: it is in hand of its owner, or over.
    -- "wants": the participants whose calls it wants, each with the time from which the call is allowed. "until": the
    -- time that takes it further without a call. "unsent": the actions for which no call of the present phase was made
    -- yet, which is known at rest only.
    rest              TEXT,
    -- The end of phase one.
    deadline_at       INTEGER NOT NULL,
    -- The time of the begin.
    create_time       INTEGER NOT NULL,
    -- The time of the decision.
    decided_at        INTEGER,
    -- The time at which status became SUCCESS.
    finished_at       INTEGER,
    -- The time of the last write.
    db_update_time    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO tx_info (
    tx_id, business_type, business_id, unique_key, decider, status, biz_status, decision_cause, retry_count,
    check_back_info, participants_info, ext_properties, version, write_id, owner, rest, deadline_at, create_time,
    decided_at, finished_at, db_update_time
)
SELECT
    tx_id, business_type, business_id, unique_key, driver, status, biz_status, decision_cause, retry_count,
    check_back_info, participants_info, ext_properties, version, random(), owner, NULL, deadline_at, create_time,
    decided_at, finished_at, db_update_time
FROM tx_info_2;

DROP TABLE tx_info_2;

-- The newest transaction of a business, and lists of them.
CREATE INDEX tx_business ON tx_info (business_type, business_id);

-- One transaction per business, where that was asked for.
CREATE UNIQUE INDEX tx_unique_key ON tx_info (unique_key) WHERE unique_key IS NOT NULL;

-- One row for each way on which a transaction that is not finished can go on. The rows follow from the one in tx_info:
-- from status, owner, rest, business_type and decided_at. If you change one of these by hand, make the rows here anew.
CREATE TABLE tx_due (
    -- HAND: in hand of an incarnation of a coordinator, which has its next step under way or soon will.
    -- PARKED: an operator's command.
    -- TIME: at rest; a time takes it further.
    -- WAIT: at rest; a call of a participant takes it further, once there is a way to it and a free place. One row per
    -- participant whose call is wanted.
    kind          TEXT    NOT NULL,
    -- HAND: the owner, node@epoch. WAIT: the participant. Otherwise empty.
    name          TEXT    NOT NULL,
    -- WAIT: the business type of the transaction. Otherwise empty.
    business_type TEXT    NOT NULL,
    -- TIME, WAIT: the time from which the next step is allowed; an absent or busy participant does not change it.
    -- PARKED: the time of the decision. HAND: 0.
    at            INTEGER NOT NULL,
    tx_id         BLOB    NOT NULL CHECK (length(tx_id) = 16),
    PRIMARY KEY (kind, name, business_type, at, tx_id)
) STRICT, WITHOUT ROWID;

-- What was unfinished was in hand of its owner, which may have made any of its calls.
INSERT INTO tx_due (kind, name, business_type, at, tx_id)
SELECT 'HAND', owner, '', 0, tx_id FROM tx_info WHERE status NOT IN ('SUCCESS', 'FAILURE');

-- A parked transaction without decided_at is not legal; it is listed, and named when it is read.
INSERT INTO tx_due (kind, name, business_type, at, tx_id)
SELECT 'PARKED', '', '', coalesce(decided_at, 0), tx_id FROM tx_info WHERE status = 'FAILURE';

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
    decider,
    status,
    biz_status,
    decision_cause,
    owner,
    rest,
    strftime('%Y-%m-%d %H:%M:%f', deadline_at / 1e6, 'unixepoch') AS deadline_at,
    strftime('%Y-%m-%d %H:%M:%f', create_time / 1e6, 'unixepoch') AS create_time,
    strftime('%Y-%m-%d %H:%M:%f', decided_at / 1e6, 'unixepoch') AS decided_at,
    strftime('%Y-%m-%d %H:%M:%f', finished_at / 1e6, 'unixepoch') AS finished_at,
    version,
    participants_info,
    ext_properties
FROM tx_info;
