// What the interface of this room shows comes with it.
@_exported import ProtobufWire
@_exported import Reactor
