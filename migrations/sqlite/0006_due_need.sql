-- A WAIT row names the ability that its call needs, so that rows for a handler that no instance has at present are not
-- read for the sake of another handler. In tx_info.rest each of "wants" has it too, as "need".

ALTER TABLE tx_due RENAME TO tx_due_5;

-- One row for each way on which a transaction that is not finished can go on. The rows follow from the one in tx_info:
-- from status, owner, rest, business_type and decided_at. If you change one of these by hand, make the rows here anew.
CREATE TABLE tx_due (
    -- HAND: in hand of an incarnation of a coordinator, which has its next step under way or soon will.
    -- PARKED: an operator's command.
    -- TIME: at rest; a time takes it further.
    -- WAIT: at rest; a call of a participant takes it further, once there is a way to it and a free place. One row per
    -- participant and need.
    kind          TEXT    NOT NULL,
    -- HAND: the owner, node@epoch. WAIT: the participant. Otherwise empty.
    name          TEXT    NOT NULL,
    -- WAIT: the ability that the call needs of the participant's instance: CHECK_BACK, or mode and handler, as in
    -- 'TCC freeze'; empty: any instance will do. Otherwise empty.
    need          TEXT    NOT NULL,
    -- WAIT: the business type of the transaction. Otherwise empty.
    business_type TEXT    NOT NULL,
    -- TIME, WAIT: the time from which the next step is allowed; an absent or busy participant does not change it.
    -- PARKED: the time of the decision. HAND: 0.
    at            INTEGER NOT NULL,
    tx_id         BLOB    NOT NULL CHECK (length(tx_id) = 16),
    PRIMARY KEY (kind, name, need, business_type, at, tx_id)
) STRICT, WITHOUT ROWID;

-- What was at rest before goes on wherever the participant is.
INSERT INTO tx_due (kind, name, need, business_type, at, tx_id)
SELECT kind, name, '', business_type, at, tx_id FROM tx_due_5;

DROP TABLE tx_due_5;
