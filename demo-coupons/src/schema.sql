-- The sums are constraints: no code of this service can lose or make coupons.
CREATE TABLE IF NOT EXISTS stock (
    kind      TEXT PRIMARY KEY NOT NULL,
    opening   INTEGER NOT NULL CHECK (opening >= 0),
    available INTEGER NOT NULL CHECK (available >= 0),
    reserved  INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    issued    INTEGER NOT NULL DEFAULT 0 CHECK (issued >= 0),
    per_user  INTEGER NOT NULL CHECK (per_user > 0),
    CHECK (available + reserved + issued = opening)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS holding (
    user     TEXT NOT NULL,
    kind     TEXT NOT NULL REFERENCES stock (kind),
    reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    issued   INTEGER NOT NULL DEFAULT 0 CHECK (issued >= 0),
    PRIMARY KEY (user, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS coupon (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL REFERENCES stock (kind),
    user      TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    tx_id     TEXT NOT NULL,
    at_micros INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX IF NOT EXISTS coupon_by_user ON coupon (user, number);
CREATE INDEX IF NOT EXISTS coupon_by_tx ON coupon (tx_id);

-- Deliberately without a unique key on (tx_id, action, movement): that an operation takes effect once
-- is the barrier's work, and the demo shows what happens without it.
CREATE TABLE IF NOT EXISTS ledger (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    tx_id     TEXT NOT NULL,
    action    TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    user      TEXT NOT NULL,
    coupon    TEXT NOT NULL REFERENCES stock (kind),
    kind      TEXT NOT NULL CHECK (kind IN ('RESERVE', 'ISSUE', 'RELEASE', 'GRANT', 'REVOKE')),
    at_micros INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX IF NOT EXISTS ledger_by_user ON ledger (user, number);
