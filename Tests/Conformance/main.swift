// The stack as servers and clients for conformance suites, which deploy/conformance.sh runs:
//
//     conformance serve [--http-port=N] [--grpc-port=N] [--certificate=FILE --key=FILE [--https-port=N] [--grpcs-port=N]]
//     conformance grpc-client --server_host=H --server_port=N --test_case=NAME [--use_tls=true [--ca_file=FILE] [--server_host_override=NAME]]
//     conformance http-client --url=URL [--method=GET] [--field=NAME:VALUE] [--body=BYTES] [--count=1] [--at-once] [--redirects=0]
//                 [--limit=BYTES] [--timeout-ms=20000] [--trusted=FILE]
//     conformance http2-client URL                                   one call to a server that tries what a client bears
//
//     conformance websocket-client [--no-context-takeover] URL       plays all cases of Autobahn's fuzzing server at ws://host:port
//
// A port that is not given is one that is free; the first line of output says them all: `http 8080 grpc 50051`.
import Glibc

let commandLine = CommandLine.arguments
let options = CommandOptions(commandLine.dropFirst(2))

switch commandLine.dropFirst().first {
case "serve": try ServeCommand.run(options)
case "http-client": try HTTPClientCommand.run(options)
case "grpc-client":
    do {
        try InteropClient.run(options)
    } catch {
        print("failed: \(error)")
        exit(1)
    }
case "http2-client" where commandLine.count > 2: try HTTP2ClientCommand.run(commandLine[commandLine.count - 1])
case "websocket-client" where commandLine.count > 2:
    try WebSocketClientCommand.run(commandLine[commandLine.count - 1], options)
default:
    print("usage: conformance serve [--http-port=N] [--grpc-port=N] [--certificate=FILE --key=FILE]")
    print("       conformance http-client --url=URL …, as the head of its main.swift says")
    print("       conformance websocket-client [--no-context-takeover] URL")
}
