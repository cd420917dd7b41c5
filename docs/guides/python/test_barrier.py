"""Plays the cells of participant-sdk/conformance/barrier.json against barrier.py, within this process:
python -m unittest test_barrier

The runner of a participant that is called over the wire differs in `serve` only."""

import json
import pathlib
import secrets
import sqlite3
import sys
import tempfile
import threading
import time
import types
import unittest
import uuid

try:
    import grpc
except ModuleNotFoundError:  # barrier.py needs nothing of it but these two
    status_codes = types.SimpleNamespace(INVALID_ARGUMENT="INVALID_ARGUMENT", ABORTED="ABORTED")
    grpc = sys.modules["grpc"] = types.SimpleNamespace(StatusCode=status_codes)

import barrier

ROOT = pathlib.Path(__file__).resolve().parents[3]
TABLE = json.loads((ROOT / "participant-sdk/conformance/barrier.json").read_text())
ACCOUNT = "CREATE TABLE account (available INT CHECK (available >= 0), frozen INT, spent INT)"
START = "INSERT INTO account VALUES (100, 0, 0)"
GOOD, REFUSED = 40, 1_000_000
EFFECTS = {
    "TRY": "UPDATE account SET available = available - ?1, frozen = frozen + ?1 WHERE available >= ?1",
    "CONFIRM": "UPDATE account SET frozen = frozen - ?1, spent = spent + ?1",
    "CANCEL": "UPDATE account SET available = available + ?1, frozen = frozen - ?1",
}
DELIVER = "UPDATE account SET available = available - ?1, spent = spent + ?1"


def uuid7():
    """A transaction's id: 48 bits of milliseconds since 1970, and 74 random bits around version and variant."""
    ms, chance = time.time_ns() // 1_000_000, secrets.randbits(74)
    high, low = chance >> 62, chance & (1 << 62) - 1
    return uuid.UUID(int=ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low)


class Aborted(Exception):
    """The status that a handler ended with."""


class Context:
    """What barrier.py uses of grpc.ServicerContext."""

    def __init__(self, metadata):
        self.metadata = metadata

    def invocation_metadata(self):
        return self.metadata

    def abort(self, code, details):
        raise Aborted(code, details)


class Participant:
    """A service with one account and one action."""

    def __init__(self, folder, mode):
        self.path, self.mode = str(folder / "account.db"), mode
        with sqlite3.connect(self.path) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(barrier.TABLE)
            db.execute(ACCOUNT)

    def reset(self):
        with sqlite3.connect(self.path) as db:
            db.execute("DELETE FROM account")
            db.execute(START)

    def observe(self):
        with sqlite3.connect(self.path) as db:
            return db.execute("SELECT available, frozen, spent FROM account").fetchone()

    def serve(self, tx_id, operation, amount):
        """Carries out one call; returns DONE, REJECTED or UNKNOWN, and the result."""

        def effect(db):
            sql = DELIVER if self.mode == "DELIVER" else EFFECTS[operation]
            if db.execute(sql, (amount,)).rowcount == 0:
                raise barrier.Rejected("short of points")
            return uuid.uuid4().bytes  # another run would return something else

        metadata = {
            "tercet-tx-id": tx_id,
            "tercet-action": "freeze",
            "tercet-operation": operation,
            "tercet-mode": self.mode,
        }
        try:
            return "DONE", barrier.carry_out(self.path, Context(metadata), effect)
        except Aborted as aborted:
            return ("REJECTED" if aborted.args[0] == grpc.StatusCode.ABORTED else "UNKNOWN"), None
        except sqlite3.Error:
            return "UNKNOWN", None


class Runner:
    """Plays one cell."""

    def __init__(self, participant, cell):
        self.participant, self.cell = participant, cell

    def ask(self, call):
        """Sends a call until its answer is definite, as the coordinator does."""
        operation, amount = ("TRY", REFUSED) if call == "TRY_REJECTED" else (call, GOOD)
        for _ in range(TABLE["max_asks"]):
            answer, result = self.participant.serve(self.tx_id, operation, amount)
            if answer != "UNKNOWN":
                return answer, result
            time.sleep(TABLE["ask_again_ms"] / 1000)
        raise AssertionError(f"{call} is UNKNOWN, {TABLE['max_asks']} times")

    def check(self, exchange, answer, result):
        expected = exchange["answer"]
        allowed = {"FIRST_RESULT": ["DONE"], "DONE_OR_REJECTED": ["DONE", "REJECTED"]}.get(expected, [expected])
        assert answer in allowed, f"{exchange['call']}: expected {expected}, got {answer}"
        if expected == "FIRST_RESULT":
            self.first_result = result if self.first_result is None else self.first_result
            assert result == self.first_result, f"{exchange['call']}: another result than the first"

    def together(self, exchanges):
        """Sends calls at the same moment."""
        answers, start = [None] * len(exchanges), threading.Barrier(len(exchanges))

        def one(place):
            start.wait()
            answers[place] = self.ask(exchanges[place]["call"])

        threads = [threading.Thread(target=one, args=(place,)) for place in range(len(exchanges))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def play(self, stands):
        self.participant.reset()
        self.tx_id, self.first_result = str(uuid7()), None
        for call in self.cell["before"]:
            expected = {"TRY": "FIRST_RESULT", "TRY_REJECTED": "REJECTED"}.get(call, "DONE")
            self.check({"call": call, "answer": expected}, *self.ask(call))
        for exchange, answer in zip(self.cell["send"], self.together(self.cell["send"])):
            assert answer, f"{exchange['call']} has no answer"
            self.check(exchange, *answer)
        if then := self.cell.get("then"):
            self.check(then, *self.ask(then["call"]))
        seen, expected = self.participant.observe(), stands[self.cell["stands"]]
        assert seen == expected, f"expected {expected}, as {self.cell['stands']}; observed {seen}"


def stands(participant):
    """How the business stands after each step of an undisturbed transaction."""
    tx_id, seen = str(uuid7()), {}
    participant.reset()
    seen["INITIAL"] = participant.observe()
    if participant.mode != "DELIVER":
        participant.serve(tx_id, "TRY", GOOD)
        seen["TRIED"] = participant.observe()
    if participant.mode != "COMPENSATE":
        participant.serve(tx_id, "CONFIRM", GOOD)
        seen["CONFIRMED"] = participant.observe()
    assert len(set(seen.values())) == len(seen), f"a step without a visible effect: {seen}"
    return seen


class Conformance(unittest.TestCase):
    def check_mode(self, mode):
        assert TABLE["format"] == 1
        cells = [cell for cell in TABLE["cells"] if mode in cell["modes"]]
        assert cells
        with tempfile.TemporaryDirectory() as folder:
            participant = Participant(pathlib.Path(folder), mode)
            expected = stands(participant)
            for cell in cells:
                with self.subTest(cell["name"]):
                    for _ in range(cell.get("rounds", 1)):
                        Runner(participant, cell).play(expected)

    def test_tcc(self):
        self.check_mode("TCC")

    def test_compensate(self):
        self.check_mode("COMPENSATE")

    def test_deliver(self):
        self.check_mode("DELIVER")


if __name__ == "__main__":
    unittest.main()
