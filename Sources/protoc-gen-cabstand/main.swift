// A plugin of protoc: reads a CodeGeneratorRequest from standard input, writes Swift in a CodeGeneratorResponse to
// standard output. Options (--cabstand_opt=…, repeatable):
//
//   module=NAME         the module that the generated code will be part of
//   map=PREFIX=MODULE   .proto files whose path begins with PREFIX live in MODULE, which is then imported
//
// google/protobuf/ is mapped to ProtobufWire without being told.

import Bytes
import Glibc
import ProtobufWire

func readAll(_ descriptor: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { return bytes }
        bytes += chunk[..<count]
    }
}

func writeAll(_ bytes: [UInt8], _ descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { exit(1) }
        rest = rest.dropFirst(count)
    }
}

var response = CodeGeneratorResponse()
do {
    let request = try CodeGeneratorRequest(decoding: readAll(STDIN_FILENO))
    let generator = try Generator(request: request)
    for name in request.filesToGenerate { response.files += try generator.generate(name) }
} catch let error as GeneratorError {
    response.error = error.message
} catch {
    response.error = "protoc has sent a request that can't be read: \(error)"
}
writeAll(response.encoded(), STDOUT_FILENO)
