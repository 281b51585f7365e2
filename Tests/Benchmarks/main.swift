let arguments = CommandLine.arguments
if arguments.count == 3, arguments[1] == "--grpc", let port = UInt16(arguments[2]) {
    try GRPCServing.run(port: port)
}
if arguments.count == 3, arguments[1] == "--ws", let port = UInt16(arguments[2]) {
    try WebSocketTarget.run(port: port)
}
