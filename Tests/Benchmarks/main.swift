let arguments = CommandLine.arguments
if arguments.count == 3, arguments[1] == "--grpc", let port = UInt16(arguments[2]) {
    try GRPCServing.run(port: port)
}
