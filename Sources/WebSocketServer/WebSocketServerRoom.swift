// WebSocketServer: being built.
