// Servers for deploy/bench.sh, which measures them beside others, and measurements of our own parts.
//
//     benchmarks --http --port 8080     GET / -> Hello, World!
//     benchmarks --ws --port 8080       /echo, /sub, /pub
//     benchmarks --grpc --port 50051    bench.Echo/Unary over h2c
//       … --certificate FILE --key FILE   over TLS, either of the two
//     benchmarks --raw --port 8080      the loop alone: a canned answer per blank line, as the C floor does
//     benchmarks --codecs               time per message written or read
//     benchmarks --micro                time per operation of the engines, percentiles of the loop
//     benchmarks --calls N --port P     N unary calls to the server on P, then an end
//     benchmarks --streams N            N calls between two HTTP/2 sessions without I/O, then an end
let arguments = CommandLine.arguments
let port = arguments.firstIndex(of: "--port").flatMap { arguments.dropFirst($0 + 1).first }.flatMap { UInt16($0) }
let tls = arguments.firstIndex(of: "--certificate").map { index in
    guard arguments.count > index + 3, arguments[index + 2] == "--key" else {
        fatalError("--certificate FILE --key FILE")
    }
    return (certificate: arguments[index + 1], key: arguments[index + 3])
}
let count = arguments.dropFirst(2).first.flatMap { Int($0) }

switch (arguments.dropFirst().first, port) {
case ("--http", let port?): try HTTPServing.run(port: port, tls: tls)
case ("--ws", let port?): try WebSocketServing.run(port: port)
case ("--grpc", let port?): try GRPCServing.run(port: port, tls: tls)
case ("--raw", let port?): try RawServing.run(port: port)
case ("--codecs", _): CodecBenchmarks.run()
case ("--micro", _): try MicroBenchmarks.run()
case ("--calls", let port?): try CountedWork.unaryCalls(count ?? 1, port: port)
case ("--streams", _): CountedWork.streams(count ?? 1)
default:
    print(
        "usage: benchmarks --http | --ws | --grpc | --raw --port N, --calls N --port P, --streams N, --micro, --codecs")
}
