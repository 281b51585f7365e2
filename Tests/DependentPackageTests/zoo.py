"""Official grpcio on the other side of the zoo. The folder has what grpcio-tools has generated from zoo.proto.

  zoo.py FOLDER serve        prints its port
  zoo.py FOLDER call PORT    makes every kind of call, random animals included, and says what it saw
"""
import random
import sys
import time
from concurrent import futures

sys.path.insert(0, sys.argv[1])

import grpc  # noqa: E402
from foreign.zoo.v1 import zoo_pb2, zoo_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase  # noqa: E402


def animal(r, depth=0):
    pick = lambda *values: r.choice(values)  # noqa: E731
    result = zoo_pb2.Animal(
        name=pick("", "x" * r.randrange(300), "é\0🚕"), genome=r.randbytes(r.choice((0, 1, 200))), tame=pick(True, False),
        floor=pick(0, -1, 2**31 - 1, -2**31), born=pick(0, 1, -2**63, 2**63 - 1), teeth=pick(0, 1, 2**32 - 1),
        cells=pick(0, 2**64 - 1), mood=pick(0, -1, -2**31), altitude=pick(0, -1, 2**63 - 1), tag=pick(0, 2**32 - 1),
        chip=pick(0, 2**64 - 1), debt=pick(0, -2**31), offset=pick(0, -2**63), length=pick(0, -0.0, 1.5, float("inf")),
        weight=pick(0, -0.0, 1e300, float("-inf")), diet=pick(0, 1, -2, 77),
        meals=[r.randint(-2**31, 2**31 - 1) for _ in range(r.randrange(4))], nicknames=["n"] * r.randrange(3),
        unpacked=[r.random()] * r.randrange(3), diet_by_day={d: 1 for d in range(r.randrange(3))})
    for _ in range(r.randrange(3)):
        result.legs.add(toes=r.randrange(300))
        result.named_legs[str(r.random())].toes = 1
    if pick(True, False):
        result.owner_id = pick("", "o")
        result.bounty = pick(0, 1)
        result.fed_at.FromMilliseconds(r.randrange(2**40))
    setattr(result, *pick(("cage", ""), ("burrow", 0), ("burrow", 2**64 - 1)))
    if depth < 3 and pick(True, False):
        result.mother.CopyFrom(animal(r, depth + 1))
    return result


class Zoo(zoo_pb2_grpc.ZooServicer):
    def Mirror(self, request, context):
        return request

    def Weigh(self, requests, context):
        weight = zoo_pb2.Weight()
        for request in requests:
            weight.sum += request.weight
            weight.count += 1
            weight.names.append(request.name)
        return weight

    def Breed(self, request, context):
        for index in range(request.count):
            request.animal.teeth = index
            yield request.animal

    def Lose(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, request.name + " is gone: 100 % é")


if sys.argv[2] == "serve":
    server = grpc.server(futures.ThreadPoolExecutor(4))
    zoo_pb2_grpc.add_ZooServicer_to_server(Zoo(), server)
    print("ready", server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    time.sleep(120)
else:
    with grpc.insecure_channel("127.0.0.1:" + sys.argv[3]) as channel:
        stub = zoo_pb2_grpc.ZooStub(channel)
        r = random.Random(1)
        same = 0
        for _ in range(300):
            sent = animal(r)
            got = stub.Mirror(sent, timeout=20)
            same += sent.SerializeToString(deterministic=True) == got.SerializeToString(deterministic=True)
        print("mirror", same)
        weight = stub.Weigh((zoo_pb2.Animal(name="a%d" % i, weight=0.5) for i in range(100)), timeout=20)
        print("weigh", weight.sum, weight.count, weight.names[-1])
        many = list(stub.Breed(zoo_pb2.BreedRequest(animal=zoo_pb2.Animal(name="b"), count=50), timeout=20))
        print("breed", [a.teeth for a in many] == list(range(50)) and {a.name for a in many} == {"b"})
        try:
            stub.Lose(zoo_pb2.Animal(name="Rex"), timeout=20)
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata())["grpc-status-details-bin"]
            print("lose", error.code().name, error.details(), b"ESCAPED" in details)
        database = ProtoReflectionDescriptorDatabase(channel)
        file = database.FindFileContainingSymbol("foreign.zoo.v1.Zoo")
        print("reflection", sorted(database.get_services()), file.name, [m.name for m in file.service[0].method])
