import Bytes
import HTTP2

/// RFC 7541: blocks of any bytes are decoded or refused; what the encoder writes of them decodes to the same fields, and both
/// tables stay in step.
func fuzzHPACK(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let settings = input.byte()
    var attacked = HPACKDecoder(tableSize: settings & 1 == 1 ? 256 : 4096, maximumListSize: 2000)
    var encoder = HPACKEncoder()
    var decoder = HPACKDecoder(maximumListSize: 1 << 20)
    while !input.isEmpty {
        let choices = input.byte()
        let block = input.run()
        guard var fields = decode(block, &attacked) else { return }
        // A name in capital letters is a stream error before it could be sent on; the encoder need not bear it.
        fields.removeAll { $0.name.contains { (65...90).contains($0) } }
        if choices & 0x80 != 0 { encoder.setAllowedTableSize(Int(choices & 0x7f) * 40) }
        var output = ByteBuffer()
        encoder.beginBlock(into: &output)
        for (index, field) in fields.enumerated() {
            let indexing: HPACKEncoder.Indexing =
                [.table, .none, .never, .table][Int(choices >> UInt8(index % 3 * 2)) & 3]
            unsafe field.name.withUnsafeBytes { name in
                unsafe field.value.withUnsafeBytes { value in
                    unsafe encoder.encode(name, value, indexing, into: &output)
                }
            }
        }
        let decoded = decode(output.array(), &decoder)
        try promise(decoded == fields, "\(fields) became \(decoded as Any)")
        try promise(decoder.tableSize == encoder.tableSize, "tables: \(decoder.tableSize), \(encoder.tableSize)")
    }
}

private struct Field: Equatable {
    let name: [UInt8]
    let value: [UInt8]
}

/// The fields of a block, copied, because they point into it. Nil: it was refused.
private func decode(_ block: [UInt8], _ decoder: inout HPACKDecoder) -> [Field]? {
    unsafe block.withUnsafeBytes { bytes in
        guard (try? unsafe decoder.decode(bytes)) != nil else { return nil }
        return (0..<decoder.count).map { unsafe Field(name: Array(decoder[$0].name), value: Array(decoder[$0].value)) }
    }
}
