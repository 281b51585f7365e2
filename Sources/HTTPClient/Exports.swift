// What the interface of this room shows comes with it.
@_exported import HTTP1
@_exported import Reactor
