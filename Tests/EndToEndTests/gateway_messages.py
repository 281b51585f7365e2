"""Reads what the gateway's WebSockets send as the messages of gateway/v1/gateway.proto: the JSON mapping of Google's
protobuf with proto field names, no unknown field allowed.

  gateway_messages.py PORT DESCRIPTORS      prints the types of the frames that were seen
"""
import base64
import json
import os
import socket
import sys
import time
import urllib.request

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

port = int(sys.argv[1])
pool = descriptor_pool.DescriptorPool()
for file in descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[2], "rb").read()).file:
    pool.Add(file)


def read_as(name, text):
    cls = message_factory.GetMessageClass(pool.FindMessageTypeByName("gateway.v1." + name))
    return json_format.Parse(text, cls(), ignore_unknown_fields=False, descriptor_pool=pool)


class WebSocket:
    """As much of RFC 6455 as a polite client needs."""

    def __init__(self, path):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self.rest = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.socket.recv(4096)
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head

    def take(self, count):
        while len(self.rest) < count:
            data = self.socket.recv(65536)
            assert data, "closed"
            self.rest += data
        result, self.rest = self.rest[:count], self.rest[count:]
        return result

    def text(self):
        """The next text frame; its opcode and payload otherwise, for a close."""
        while True:
            first, second = self.take(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
            payload = self.take(length)
            if first & 15 == 1:
                return payload.decode()
            if first & 15 == 8:
                return None

    def send(self, value):
        payload = value.encode()
        assert len(payload) < 126
        self.socket.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)

    def until(self, type, check=lambda frame: True):
        """Reads frames as messages of the endpoint until one of `type` passes `check`."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            text = self.text()
            assert text is not None, "closed before " + type
            message = frames[json.loads(text)["type"]](text)
            seen.add((json.loads(text)["type"], message.DESCRIPTOR.name))
            if json.loads(text)["type"] == type and check(message):
                return message
        raise AssertionError("no " + type)


def post(path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=15))


seen = set()
trip_message = "TripUpdate"
frames = {
    "drivers": lambda text: read_as("Drivers", text), "pong": lambda text: read_as("Pong", text),
    "error": lambda text: read_as("Error", text), "ack": lambda text: read_as("Ack", text),
    "trip": lambda text: read_as(trip_message, text),
}

vehicle = {"make": "Opel", "model": "Corsa", "color": "blue", "plate": "NB-CS 1", "category": "standard"}
for name in ("d-1", "d-2"):
    post("/drivers", {"id": name, "name": "Ada \"é\"", "vehicle": vehicle, "lat": 53.557, "lon": 13.26})

# The live list, near a position and everywhere.
live = WebSocket("/ws/drivers/available?lat=53.557&lon=13.261&radius_m=1000")
near = live.until("drivers", lambda frame: len(frame.drivers) == 2)
assert near.version > 0 and near.drivers[0].HasField("distance_m") and near.drivers[0].vehicle.plate == "NB-CS 1"
for question in ('{"type":"ping"}', json.dumps(json.loads(json_format.MessageToJson(
        read_as("Ping", '{"type":"ping"}'), preserving_proto_field_name=True)))):
    live.send(question)
    assert live.until("pong").version >= near.version
view = read_as("View", '{"type":"view","bbox":[13,53,14,54],"limit":1}')
live.send(json.dumps(json_format.MessageToDict(view, preserving_proto_field_name=True)))
assert live.until("drivers", lambda frame: frame.truncated).drivers[0].id == "d-1"
live.send('{"type":"view","lat":91}')
problem = live.until("error").problem
assert problem.status == 400 and problem.errors[0].pointer == "/lat", problem

# The driver's own app: no trip yet, an assignment, positions, what became of them.
trip_message = "Assignment"
app = WebSocket("/ws/drivers/d-1/location")
assert not app.until("trip").HasField("trip")
position = read_as("DriverPosition", '{"lat":53.5571,"lon":13.2601,"heading":90,"speed":5.5,"accuracy":4}')
app.send(json.dumps(json_format.MessageToDict(position, preserving_proto_field_name=True)))
app.send('{"lat":200,"lon":0}')
assert app.until("error").problem.errors[0].pointer == "/lat"
assert app.until("ack").accepted >= 1

place = {"lat": 53.56, "lon": 13.27}
trip = post("/trips", {"rider_id": "r-1", "driver_id": "d-1", "pickup": place, "dropoff": {"lat": 53.55, "lon": 13.25}})
assert app.until("trip", lambda frame: frame.HasField("trip")).trip.id == trip["id"]

# The rider follows the trip.
trip_message = "TripUpdate"
rider = WebSocket("/ws/trips/" + trip["id"])
first = rider.until("trip")
assert first.trip.status == "in_progress" and first.trip.driver.vehicle.make == "Opel" and first.trip.pickup.lat == 53.56
time.sleep(1.1)
app.send('{"lat":53.5572,"lon":13.2602}')
rider.until("trip", lambda frame: frame.HasField("position") and abs(frame.position.lat - 53.5572) < 1e-6)
post("/trips/" + trip["id"] + "/pickup", {})
rider.until("trip", lambda frame: frame.trip.HasField("picked_up_at"))
post("/trips/" + trip["id"] + "/complete", {})
assert rider.until("trip", lambda frame: frame.trip.status == "completed").trip.HasField("ended_at")

unknown = WebSocket("/ws/trips/unknown")
assert unknown.until("error").problem.code == "trip-not-found"
print(" ".join(sorted(f"{type}={name}" for type, name in seen)))
