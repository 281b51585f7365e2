import Bytes
import Foundation
import HTTP2
import TestSupport
import Testing

/// Header blocks that other encoders have written, one after the other, from github.com/http2jp/hpack-test-case: our decoder gives
/// the fields that they stand for, and so it does when our encoder has written them.
extension HPACKTests {
    /// A header block of a story.
    private struct Block {
        /// By the name of the encoder.
        var wires: [String: [UInt8]] = [:]
        var fields: [String] = []
    }

    /// Decodes the blocks of one encoder, and those that our encoder makes of their fields: all fields for the table, or by turns.
    private func play(_ name: String, _ blocks: [(wire: [UInt8], fields: [String])]) throws {
        var theirs = decoder()
        var ours = HPACKEncoder()
        var again = decoder()
        for (index, block) in blocks.enumerated() {
            let decoded = try decode(&theirs, block.wire)
            #expect(decoded == block.fields, "\(name), block \(index)")
            var buffer = ByteBuffer()
            ours.beginBlock(into: &buffer)
            for field in block.fields {
                // A pseudo-header's name begins with a colon.
                let colon = try #require(field.dropFirst().firstRange(of: ": "))
                let key = Array(field[..<colon.lowerBound].utf8)
                let value = Array(field[colon.upperBound...].utf8)
                unsafe key.withUnsafeBytes { key in
                    unsafe value.withUnsafeBytes {
                        unsafe ours.encode(key, $0, index % 3 == 2 ? .none : .table, into: &buffer)
                    }
                }
            }
            let recoded = try decode(&again, buffer.array())
            #expect(recoded == block.fields, "\(name), block \(index), encoded again")
            let sizes = (again.tableSize, ours.tableSize)
            #expect(sizes.0 == sizes.1, "\(name), block \(index)")
        }
    }

    @Test func storiesDecodeAndEncodeAgain() throws {
        let text = TemporaryFolder.read("\(Tool.repository)/Tests/HTTP2Tests/Corpus/hpack-stories.txt")
        var stories: [(name: Substring, blocks: [Block])] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard !line.hasPrefix("[") else {
                stories.append((line, []))
                continue
            }
            let story = try #require(stories.indices.last)
            guard line.hasPrefix("> ") else {
                let block = try #require(stories[story].blocks.indices.last)
                stories[story].blocks[block].fields.append(String(line))
                continue
            }
            // A wire behind a field begins the next block.
            if stories[story].blocks.last?.fields.isEmpty != true { stories[story].blocks.append(Block()) }
            let words = line.split(separator: " ")
            stories[story].blocks[stories[story].blocks.count - 1].wires[String(words[1])] = bytes(words[2])
        }
        #expect(stories.map(\.blocks.count) == [3, 10, 10, 10, 33])
        for (name, blocks) in stories {
            for encoder in blocks[0].wires.keys {
                try play("\(encoder) \(name)", blocks.map { (try #require($0.wires[encoder]), $0.fields) })
            }
        }
    }

    // MARK: All of them

    private struct Story: Decodable {
        struct Case: Decodable {
            let wire: String
            let headers: [[String: String]]
        }
        let cases: [Case]
    }

    private static let folder: String? = [".build/hpack-test-case", "../shared/tools/hpack"]
        .map { "\(Tool.repository)/\($0)" }.first { FileManager.default.fileExists(atPath: $0) }

    @Test(
        .enabled(
            if: Self.folder != nil,
            "no stories: git clone https://github.com/http2jp/hpack-test-case .build/hpack-test-case"))
    func allPublishedStoriesDecodeAndEncodeAgain() throws {
        let folder = try #require(Self.folder)
        var blocks = 0
        // The raw data are what the stories were made of: they have no wire.
        for encoder in try FileManager.default.contentsOfDirectory(atPath: folder) where encoder != "raw-data" {
            for file in TemporaryFolder.names("\(folder)/\(encoder)") where file.hasSuffix(".json") {
                let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(encoder)/\(file)"))
                let story = try JSONDecoder().decode(Story.self, from: data)
                let played = story.cases.map { item in
                    (bytes(item.wire), item.headers.flatMap { $0.map { "\($0): \($1)" } })
                }
                try play("\(encoder)/\(file)", played)
                blocks += played.count
            }
        }
        #expect(blocks > 1000)
    }
}
