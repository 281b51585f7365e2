// What the interface of this room shows comes with it.
@_exported import Basics
@_exported import Bytes
@_exported import Memory
