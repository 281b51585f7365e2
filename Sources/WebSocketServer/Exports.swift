// What the interface of this room shows comes with it.
@_exported import HTTPServer
@_exported import WebSockets
