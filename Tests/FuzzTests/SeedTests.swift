import FuzzTargets
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Ten thousand random programs for the whole servers: connections that come and go, input and output that is split, delayed,
/// reset and reordered, failing system calls, late answers, deadlines, and the end in the middle of it all. libFuzzer searches
/// more cleverly; these run everywhere and always.
///
/// A seed that fails is run again, alone, by the line that it prints.
@Suite struct Seeds {
    /// Some of one target's seeds: in parts, so that they can run beside each other.
    struct Part: CustomTestStringConvertible, Sendable {
        let target: FuzzTarget
        let seeds: Range<UInt64>

        var testDescription: String { "\(target.name) \(seeds)" }

        private static let size: UInt64 = 500

        static let all: [Part] = {
            let count = 10_000 / UInt64(FuzzTarget.servers.count)
            return FuzzTarget.servers.flatMap { target in
                stride(from: 0, through: count, by: Int(size)).map {
                    Part(target: target, seeds: $0..<min($0 + size, count + 1))
                }
            }
        }()
    }

    @Test(.enabled(if: wanted == nil), arguments: Part.all)
    func randomProgramsKeepTheirPromises(_ part: Part) {
        for seed in part.seeds {
            guard let problem = problem(part.target, seed) else { continue }
            Issue.record(
                """
                \(part.target.name): \(problem)
                CABSTAND_SEED=\(part.target.name):\(seed) swift test --disable-xctest --filter oneSeedKeepsItsPromises
                """)
            return
        }
    }

    @Test(.enabled(if: wanted != nil, "CABSTAND_SEED names none"))
    func oneSeedKeepsItsPromises() throws {
        let parts = try #require(Self.wanted).split(separator: ":")
        let target = try #require(FuzzTarget.servers.first { $0.name == parts.first ?? "" })
        let seed = try #require(parts.count == 2 ? UInt64(parts[1]) : nil)
        #expect(problem(target, seed) == nil)
    }

    private static let wanted = unsafe getenv("CABSTAND_SEED").map { unsafe String(cString: $0) }

    /// The promise that a seed's program breaks.
    private func problem(_ target: FuzzTarget, _ seed: UInt64) -> String? {
        do {
            try target.run(program(seed))
            return nil
        } catch {
            return "\(error)"
        }
    }

    /// Short programs: an end is looked at after each, and most is found around an end.
    private func program(_ seed: UInt64) -> [UInt8] {
        var state = seed
        var bytes: [UInt8] = []
        for _ in 0..<(10 + seed % 70) {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            bytes.append(UInt8(state >> 56))
        }
        return bytes
    }
}
