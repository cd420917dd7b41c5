"""A participant with ordinary gRPC methods: python participant.py DATABASE [COORDINATOR]"""

import sqlite3
import sys
from concurrent import futures

import grpc
import points_pb2
import points_pb2_grpc
from tercet.v1 import participant_pb2, participant_pb2_grpc

import barrier


class Points(points_pb2_grpc.PointsServicer):
    def __init__(self, path):
        self.path = path

    def Freeze(self, amount, context):
        def effect(db):
            sql = """UPDATE account SET available = available - ?1, frozen = frozen + ?1
                     WHERE user = ?2 AND available >= ?1 RETURNING available"""
            row = db.execute(sql, (amount.points, amount.user)).fetchall()
            if not row:
                raise barrier.Rejected("short of points")
            return points_pb2.Frozen(left=row[0][0]).SerializeToString()

        return points_pb2.Frozen.FromString(barrier.carry_out(self.path, context, effect))

    def Spend(self, amount, context):
        def effect(db):
            db.execute("UPDATE account SET frozen = frozen - ? WHERE user = ?", (amount.points, amount.user))

        barrier.carry_out(self.path, context, effect)
        return points_pb2.Empty()

    def GiveBack(self, amount, context):
        def effect(db):
            sql = "UPDATE account SET available = available + ?1, frozen = frozen - ?1 WHERE user = ?2"
            db.execute(sql, (amount.points, amount.user))

        barrier.carry_out(self.path, context, effect)
        return points_pb2.Empty()


def main(path, coordinator="127.0.0.1:7460"):
    with sqlite3.connect(path) as db:
        db.execute(barrier.TABLE)
        db.execute("CREATE TABLE IF NOT EXISTS account (user TEXT PRIMARY KEY, available INT, frozen INT)")
        db.execute("INSERT OR IGNORE INTO account VALUES ('ada', 100, 0)")
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    points_pb2_grpc.add_PointsServicer_to_server(Points(path), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    methods = participant_pb2.Methods(
        handler="freeze", confirm="/shop.Points/Spend", cancel="/shop.Points/GiveBack"
    )
    setattr(methods, "try", "/shop.Points/Freeze")  # a keyword of Python
    with grpc.insecure_channel(coordinator) as channel:
        participant_pb2_grpc.ParticipantsStub(channel).Register(
            participant_pb2.RegisterRequest(
                participant="points",
                protocol=participant_pb2.PROTOCOL_GRPC,
                address=f"http://127.0.0.1:{port}",
                methods=[methods],
            )
        )
    print(f"points at port {port}, registered at {coordinator}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
