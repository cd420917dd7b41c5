-- The fence, made on each connection that writes. A commit hands all its changes over in two INSERTs, each row
-- with values of its own; every row is found by its primary key, whatever the planner thinks of the table.

CREATE TEMP VIEW tx_change (
    tx_id, expected, status, biz_status, decision_cause, retry_count, version, owner, waiting_for,
    next_attempt_at, decided_at, finished_at
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER tx_fence INSTEAD OF INSERT ON tx_change WHEN NEW.tx_id IS NOT NULL BEGIN
    UPDATE tx_info SET
        status = NEW.status,
        biz_status = NEW.biz_status,
        decision_cause = NEW.decision_cause,
        retry_count = NEW.retry_count,
        version = NEW.version,
        owner = NEW.owner,
        waiting_for = NEW.waiting_for,
        next_attempt_at = NEW.next_attempt_at,
        decided_at = NEW.decided_at,
        finished_at = NEW.finished_at,
        db_update_time = CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
    WHERE tx_id = NEW.tx_id AND version = NEW.expected;
    SELECT RAISE(ABORT, 'tercet: moved: transaction ' || lower(hex(NEW.tx_id))
        || ' does not have version ' || NEW.expected)
    WHERE changes() <> 1;
END;

CREATE TEMP VIEW action_change (
    tx_id, action_name, expected, result, status, retry_count, last_error, attempts, version, finished_at
) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

CREATE TEMP TRIGGER action_assertion INSTEAD OF INSERT ON action_change WHEN NEW.tx_id IS NOT NULL BEGIN
    UPDATE action_info SET
        result = NEW.result,
        status = NEW.status,
        retry_count = NEW.retry_count,
        last_error = NEW.last_error,
        attempts = NEW.attempts,
        version = NEW.version,
        finished_at = NEW.finished_at,
        db_update_time = CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000
    WHERE tx_id = NEW.tx_id AND action_name = NEW.action_name AND version = NEW.expected;
    SELECT RAISE(ABORT, 'tercet: corrupt: action ' || NEW.action_name || ' of transaction '
        || lower(hex(NEW.tx_id)) || ' does not have version ' || NEW.expected
        || ', although the transaction has the version that goes with it')
    WHERE changes() <> 1;
END;
