// The stack as servers and clients for conformance suites, which deploy/conformance.sh runs:
//
//     conformance serve [--http-port=N] [--grpc-port=N] [--certificate=FILE --key=FILE [--https-port=N] [--grpcs-port=N]]
//
//     conformance http-client --url=URL [--method=GET] [--field=NAME:VALUE] [--body=BYTES] [--count=1] [--at-once] [--redirects=0]
//                 [--limit=BYTES] [--timeout-ms=20000] [--trusted=FILE]
//
// A port that is not given is one that is free; the first line of output says them all: `http 8080 grpc 50051`.
let commandLine = CommandLine.arguments
let options = CommandOptions(commandLine.dropFirst(2))

switch commandLine.dropFirst().first {
case "serve": try ServeCommand.run(options)
case "http-client": try HTTPClientCommand.run(options)
default:
    print("usage: conformance serve [--http-port=N] [--grpc-port=N] [--certificate=FILE --key=FILE]")
    print("       conformance http-client --url=URL …, as the head of its main.swift says")
}
