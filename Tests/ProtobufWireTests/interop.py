"""Google's protobuf on the other side of ProtobufWire's tests. Messages are lines of hexadecimal digits.

  interop.py DESCRIPTORS random SEED COUNT      writes random Everything messages
  interop.py DESCRIPTORS same A B               each line of B is the same message as that of A
  interop.py DESCRIPTORS text NAME              reads one line, writes the message as proto3 JSON with sorted keys
"""
import json
import random
import sys

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, json_format, message_factory  # noqa
from google.protobuf import struct_pb2, timestamp_pb2, wrappers_pb2  # noqa: F401

pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read()).file:
    pool.Add(file)


def message(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


F = descriptor_pb2.FieldDescriptorProto
INTS = {
    F.TYPE_INT32: (-2**31, 2**31 - 1), F.TYPE_SINT32: (-2**31, 2**31 - 1), F.TYPE_SFIXED32: (-2**31, 2**31 - 1),
    F.TYPE_INT64: (-2**63, 2**63 - 1), F.TYPE_SINT64: (-2**63, 2**63 - 1), F.TYPE_SFIXED64: (-2**63, 2**63 - 1),
    F.TYPE_UINT32: (0, 2**32 - 1), F.TYPE_FIXED32: (0, 2**32 - 1),
    F.TYPE_UINT64: (0, 2**64 - 1), F.TYPE_FIXED64: (0, 2**64 - 1), F.TYPE_ENUM: (-2**31, 2**31 - 1),
}


def scalar(r, field):
    if field.type in INTS:
        low, high = INTS[field.type]
        value = r.choice([0, 1, low, high, low + 1, high - 1, 127, 128, 16383, 16384, r.randint(low, high),
                          r.randint(low, high) >> r.randint(0, 40)])
        return max(low, min(high, value))
    if field.type == F.TYPE_BOOL:
        return r.random() < 0.5
    if field.type in (F.TYPE_DOUBLE, F.TYPE_FLOAT):
        return r.choice([0.0, -0.0, 1.5, -2.25, float("inf"), float("-inf"), r.uniform(-1e6, 1e6), 3.4e38, 1e-45])
    if field.type == F.TYPE_STRING:
        alphabet = "aZ0 \u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\u00e9"
        return "".join(r.choice(alphabet) for _ in range(r.choice([0, 1, 3, 15, 16, 42, 127, 128, 200])))
    return bytes(r.randrange(256) for _ in range(r.choice([0, 1, 15, 127, 128, 300])))


def fill(r, target, depth):
    for field in target.DESCRIPTOR.fields:
        if r.random() < (0.3, 0.5, 0.7, 0.85, 0.95, 0.97)[min(depth, 5)]:
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            key, value = field.message_type.fields_by_number[1], field.message_type.fields_by_number[2]
            for _ in range(r.randrange(4)):
                if value.type == F.TYPE_MESSAGE:
                    if depth < 12:
                        fill(r, getattr(target, field.name)[scalar(r, key)], depth + 1)
                else:
                    getattr(target, field.name)[scalar(r, key)] = scalar(r, value)
        elif field.is_repeated:
            for _ in range(r.choice([0, 1, 2, 5])):
                if field.type == F.TYPE_MESSAGE:
                    if depth < 12:
                        fill(r, getattr(target, field.name).add(), depth + 1)
                else:
                    getattr(target, field.name).append(scalar(r, field))
        elif field.type == F.TYPE_MESSAGE:
            if depth < 12:
                getattr(target, field.name).SetInParent()
                fill(r, getattr(target, field.name), depth + 1)
        else:
            setattr(target, field.name, scalar(r, field))


command = sys.argv[2]
if command == "random":
    r = random.Random(int(sys.argv[3]))
    for _ in range(int(sys.argv[4])):
        everything = message("cabstand.test.v1.Everything")
        fill(r, everything, 0)
        print(everything.SerializeToString().hex())
elif command == "same":
    mine, theirs = open(sys.argv[3]).read().split("\n"), open(sys.argv[4]).read().split("\n")
    assert len(mine) == len(theirs), (len(mine), len(theirs))
    for left, right in zip(mine, theirs):
        a, b = message("cabstand.test.v1.Everything"), message("cabstand.test.v1.Everything")
        a.ParseFromString(bytes.fromhex(left))
        b.ParseFromString(bytes.fromhex(right))
        assert a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True), (a, b)
    print(len(mine), "the same")
elif command == "text":
    target = message(sys.argv[3])
    target.ParseFromString(bytes.fromhex(sys.stdin.readline().strip()))
    print(json.dumps(json_format.MessageToDict(target, preserving_proto_field_name=True), sort_keys=True))
