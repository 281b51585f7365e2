import FoundationEssentials
import FuzzTargets
import Testing

/// Everything that fuzzing ever found (Tests/Fuzz/Corpus), without libFuzzer: a crasher that was mended stays mended.
///
/// Crashers are files with names; what reaches the rest of the code is lines of base64 in the file `inputs`.
@Suite struct Replay {
    @Test(arguments: FuzzTarget.all.map(\.name))
    func everyInputOfTheCorpusKeepsItsPromises(_ name: String) throws {
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        try target.run([])
        let here = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
        let folder = "\(here)/Fuzz/Corpus/\(name)"
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        #expect(!files.isEmpty, "no corpus in \(folder)")
        for file in files {
            let data = try Data(contentsOf: URL(filePath: "\(folder)/\(file)"))
            guard file == "inputs" else {
                #expect(throws: Never.self, "\(name)/\(file)") { try target.run(Array(data)) }
                continue
            }
            for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
                let bytes = try #require(Data(base64Encoded: String(line)), "\(name): \(line)")
                #expect(throws: Never.self, "\(name): \(line)") { try target.run(Array(bytes)) }
            }
        }
    }
}
