-- The sums are constraints: no code of this service can lose or make points.
CREATE TABLE IF NOT EXISTS account (
    user      TEXT PRIMARY KEY NOT NULL,
    opening   INTEGER NOT NULL CHECK (opening >= 0),
    available INTEGER NOT NULL CHECK (available >= 0),
    frozen    INTEGER NOT NULL DEFAULT 0 CHECK (frozen >= 0),
    spent     INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
    CHECK (available + frozen + spent = opening)
) STRICT, WITHOUT ROWID;

-- Deliberately without a unique key on (tx_id, action, kind): that an operation takes effect once is
-- the barrier's work, and the demo shows what happens without it.
CREATE TABLE IF NOT EXISTS ledger (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    tx_id     TEXT NOT NULL,
    action    TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    user      TEXT NOT NULL REFERENCES account (user),
    kind      TEXT NOT NULL CHECK (kind IN ('FREEZE', 'SPEND', 'RELEASE', 'DEDUCT', 'REFUND')),
    points    INTEGER NOT NULL CHECK (points > 0),
    at_micros INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX IF NOT EXISTS ledger_by_user ON ledger (user, number);
