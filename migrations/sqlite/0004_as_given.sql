-- The length of phase one as the caller gave it, and the last question to an initiator that brought no outcome.
--
-- The program before this version inserts rows without these columns: their defaults are right for such rows, which
-- have the length of phase one with the default already applied.
--
-- Policies, in action_info.policy and tx_info.check_back_info, have only the values that their caller gave from now on.
-- Rows of before have all values, and stay as they are: a repeated request is compared with them by its effect.

-- 1: the caller gave the length of phase one, from create_time to deadline_at. 0: it is the default of that time.
ALTER TABLE tx_info ADD COLUMN timeout_given INTEGER NOT NULL DEFAULT 1 CHECK (timeout_given IN (0, 1));

-- JSON, with times in microseconds: the last question to the initiator that brought no outcome. "number": its number,
-- from 1. "at": the time of the answer, or of the end of the wait for one. "error": the reason that was given, or why
-- there was no answer. "next": the time of the next question; absent: none follows. NULL: there was no such question.
ALTER TABLE tx_info ADD COLUMN last_check_back TEXT;

-- With last_check_back.
DROP VIEW tx_readable;

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
    last_check_back,
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
