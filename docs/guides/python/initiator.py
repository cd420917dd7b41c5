"""An initiator: python initiator.py ORDER USER POINTS [COORDINATOR]"""

import sys
import time

import grpc
import points_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tercet.v1 import coordinator_pb2, coordinator_pb2_grpc, types_pb2


def execute(stub, request, seconds=30):
    """Repeats whatever lost its answer, with the same id, until it is definite."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return stub.Execute(request, timeout=deadline - time.monotonic())
        except grpc.RpcError as error:
            passing = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.RESOURCE_EXHAUSTED)
            if error.code() not in passing or time.monotonic() > deadline - 1:
                raise
            time.sleep(0.2)


def main(order, user, points, coordinator="127.0.0.1:7460"):
    with grpc.insecure_channel(coordinator) as channel:
        begin = coordinator_pb2.BeginRequest(
            # Left out, tx_id is made by the server: then unique_business makes the repetition safe.
            business_type="points_for_coupon",
            business_id=order,
            unique_business=True,
            actions=[
                types_pb2.Action(
                    name="freeze",
                    mode=types_pb2.MODE_TCC,
                    participant="points",
                    payload=points_pb2.Amount(user=user, points=int(points)).SerializeToString(),
                )
            ],
        )
        request = coordinator_pb2.ExecuteRequest(begin=begin, wait=coordinator_pb2.WAIT_COMPLETED)
        state = execute(coordinator_pb2_grpc.CoordinatorStub(channel), request)
        print(state.tx_id, types_pb2.BizStatus.Name(state.biz_status), state.cause.reason)
        if state.biz_status == types_pb2.BIZ_STATUS_SUCCESS:
            print("left:", points_pb2.Frozen.FromString(state.actions[0].result).left)

        # The same through reflection, without any generated file of Tercet's.
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName("tercet.v1.Coordinator").FindMethodByName("Get")
        get = channel.unary_unary(
            "/tercet.v1.Coordinator/Get",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        transaction = get(GetMessageClass(method.input_type)(tx_id=state.tx_id))
        print("by reflection:", transaction.business_id, "at version", transaction.version)


if __name__ == "__main__":
    main(*sys.argv[1:])
