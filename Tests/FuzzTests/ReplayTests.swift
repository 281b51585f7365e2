import FoundationEssentials
import FuzzTargets
import Testing

/// Everything that fuzzing ever found (Tests/Fuzz/Corpus), without libFuzzer: a crasher that was mended stays mended.
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
            let bytes = try Array(Data(contentsOf: URL(filePath: "\(folder)/\(file)")))
            #expect(throws: Never.self, "\(name)/\(file)") { try target.run(bytes) }
        }
    }
}
