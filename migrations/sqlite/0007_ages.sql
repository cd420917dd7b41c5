-- The ages of actions count from the decision, or from an operator's later command; at rest, a TIME row stands for them.
--
-- The program before this version writes rows without the new column. What it leaves there is at worst the time of an
-- earlier command than the last one.

-- The time of the operator's command (RETRY, RESOLVE) that last took the transaction out of FAILURE: the ages of its actions
-- count from then on. It has a meaning in PROCESSING alone. NULL: there was none.
ALTER TABLE tx_info ADD COLUMN unparked_at INTEGER;

-- In tx_info.rest "until" is now also, in PROCESSING, when the first of the actions is to be given up for its age. A row of
-- before gets the age of the first of its actions that has one and is not over. Where that one is not called next, the
-- coordinator puts the row right when it comes to it.
UPDATE tx_info
SET rest = json_set(rest, '$.until', decided_at + 1000 * aging.age)
FROM (
    SELECT tx_id, min(age) AS age
    FROM (
        SELECT tx_id, CASE WHEN json_valid(policy) THEN json_extract(policy, '$.max_age') END AS age
        FROM action_info
        WHERE status IN ('INIT', 'TRIED', 'REJECTED')
    )
    WHERE typeof(age) = 'integer' AND age BETWEEN 0 AND 31536000000
    GROUP BY tx_id
) AS aging
WHERE aging.tx_id = tx_info.tx_id AND status = 'PROCESSING' AND decided_at IS NOT NULL AND json_valid(rest);

INSERT INTO tx_due (kind, name, need, business_type, at, tx_id)
SELECT 'TIME', '', '', '', json_extract(rest, '$.until'), tx_id
FROM tx_info
WHERE status = 'PROCESSING' AND CASE WHEN json_valid(rest) THEN json_extract(rest, '$.until') END IS NOT NULL;
