"""The barrier's table, satisfied by hand: one row per (tx_id, action), in the same local transaction as
the effect."""

import sqlite3
from urllib.parse import unquote

import grpc

TABLE = """CREATE TABLE IF NOT EXISTS tercet_barrier (
    tx_id TEXT NOT NULL, action TEXT NOT NULL, state TEXT NOT NULL,
    result BLOB NOT NULL DEFAULT x'', rejection TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tx_id, action))"""


class Rejected(Exception):
    """Refused for a business reason: no effect, and never later."""


def carry_out(path, context, effect):
    """Runs `effect(db)`, which returns the result's bytes, unless the row says otherwise."""
    metadata = dict(context.invocation_metadata())
    if "tercet-tx-id" not in metadata:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "called outside of a transaction")
    key = (metadata["tercet-tx-id"], unquote(metadata["tercet-action"]))
    db = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        db.execute("BEGIN IMMEDIATE")
        if metadata["tercet-operation"] == "TRY" and metadata.get("tercet-time-left-ms") == "0":
            if read(db, key)[0] is None:  # phase one is over: left undone, answered UNKNOWN
                raise TimeoutError("phase one is over: not tried")
        delivers = metadata.get("tercet-mode") == "DELIVER"
        result = OPERATIONS["DELIVER" if delivers else metadata["tercet-operation"]](db, key, effect)
        db.execute("COMMIT")
        return result
    except Rejected as rejected:
        # What is to stay is committed by then; a rejected Confirm or Cancel leaves nothing.
        if db.in_transaction:
            db.execute("ROLLBACK")
        context.abort(grpc.StatusCode.ABORTED, str(rejected))
    finally:
        db.close()  # any other exception: rolled back, answered UNKNOWN, asked again


def insert(db, key, state):
    sql = "INSERT INTO tercet_barrier (tx_id, action, state) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    return db.execute(sql, (*key, state)).rowcount == 1


def read(db, key):
    sql = "SELECT state, result, rejection FROM tercet_barrier WHERE tx_id = ? AND action = ?"
    return db.execute(sql, key).fetchone() or (None, b"", "")


def update(db, key, state, result=b"", rejection=""):
    sql = "UPDATE tercet_barrier SET state = ?, result = ?, rejection = ? WHERE tx_id = ? AND action = ?"
    db.execute(sql, (state, result, rejection, *key))


def run(db, effect):
    """Runs the effect; fails if the local transaction of the row has ended meanwhile."""
    db.execute("SAVEPOINT effect")
    result = effect(db)
    db.execute("RELEASE effect")
    return result


def try_(db, key, effect):
    if insert(db, key, "TRIED"):
        try:
            result = run(db, effect)
        except Rejected as rejected:
            db.execute("ROLLBACK TO effect")
            update(db, key, "REJECTED", rejection=str(rejected))
            db.execute("COMMIT")
            raise
        update(db, key, "TRIED", result)
        return result
    state, result, rejection = read(db, key)
    if state in ("TRIED", "CONFIRMED"):
        return result
    raise Rejected(rejection or "fenced: the action is already cancelled")


def confirm(db, key, effect):
    state, result, _ = read(db, key)
    if state == "TRIED":
        run(db, effect)
        update(db, key, "CONFIRMED", result)
    elif state != "CONFIRMED":
        raise Rejected(f"cannot confirm: {state or 'nothing was tried'}")
    return b""


def cancel(db, key, effect):
    if insert(db, key, "CANCELLED"):  # an empty cancel: the row fences a late Try
        return b""
    state, result, _ = read(db, key)
    if state == "TRIED":
        run(db, effect)
        update(db, key, "CANCELLED", result)
    elif state == "CONFIRMED":
        raise Rejected("already confirmed")
    return b""


def deliver(db, key, effect):  # the Confirm of mode DELIVER, which has neither Try nor Cancel
    if insert(db, key, "CONFIRMED"):
        run(db, effect)
    return b""


OPERATIONS = {"TRY": try_, "CONFIRM": confirm, "CANCEL": cancel, "DELIVER": deliver}
