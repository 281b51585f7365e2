import Testing

@testable import GRPCRuntime

@Suite struct ValueTests {
    private func decode(_ text: String) -> UInt64? {
        let bytes = Array(text.utf8)
        return unsafe bytes.withUnsafeBytes { unsafe GRPCTimeout.decode($0) }
    }

    @Test func timeoutsInAllUnits() {
        #expect(decode("1H") == 3_600_000_000_000)
        #expect(decode("2M") == 120_000_000_000)
        #expect(decode("3S") == 3_000_000_000)
        #expect(decode("4m") == 4_000_000)
        #expect(decode("5u") == 5000)
        #expect(decode("6n") == 6)
        #expect(decode("99999999H") == GRPCTimeout.longest)
    }

    @Test func encodedTimeoutsAreNeverShorter() {
        for value in [1, 99_999_999, 100_000_000, 100_000_001, 5_000_000_000, 86_400_000_000_000, UInt64.max]
            as [UInt64]
        {
            var text = ""
            unsafe GRPCTimeout(value).withUnsafeBytes { text = unsafe String(decoding: $0, as: UTF8.self) }
            #expect(text.utf8.count <= 9)
            if value < .max { #expect(decode(text)! >= value && decode(text)! <= value + value / 90_000, "\(text)") }
        }
    }

    @Test func percentCoding() {
        for text in ["", "plain", "100 %", "grüße\n€", "%41", "\u{0}\u{1f}\u{7f}"] {
            let encoded = PercentCoding.encode(text)
            #expect(encoded.allSatisfy { $0 >= 0x20 && $0 < 0x7f })
            let decoded = unsafe encoded.withUnsafeBytes { unsafe PercentCoding.decode($0) }
            #expect(decoded == text)
        }
        let broken = Array("a%4 %zz %".utf8)
        let decoded = unsafe broken.withUnsafeBytes { unsafe PercentCoding.decode($0) }
        #expect(decoded == "a%4 %zz %")
    }

    @Test func valuesOfMetadataArePrintableASCII() {
        for count in [1, 7, 8, 9, 16, 23] {
            for place in 0..<count {
                for byte in UInt8.min...UInt8.max {
                    var value = Array(repeating: UInt8(ascii: "a"), count: count)
                    value[place] = byte
                    var metadata = Metadata()
                    let isAdded = metadata.add(.authorization, value)
                    #expect(isAdded == (0x20...0x7e).contains(byte), "\(byte) at \(place) of \(count)")
                    #expect(metadata.has(.authorization) == isAdded)
                }
            }
        }
        #expect(Metadata.Key("-bin") == nil && Metadata.Key("grpc-status") == nil && Metadata.Key("ä") == nil)
        #expect(Metadata.Key("Authorization") == .authorization)
    }

    @Test func statusMessagesHaveABound() {
        for text in [
            String(repeating: "a", count: 5000), String(repeating: "€", count: 5000),
            "ab" + String(repeating: "%", count: 999),
        ] {
            for limit in [40, 41, 42, 43, 44, 1024] {
                let encoded = PercentCoding.encode(text, limit: limit)
                #expect(encoded.count <= limit && encoded.count > limit - 20)
                let decoded = unsafe encoded.withUnsafeBytes { unsafe PercentCoding.decode($0) }
                #expect(decoded.last == "…" && text.hasPrefix(decoded.dropLast()), "whole characters")
            }
        }
        #expect(PercentCoding.encode("just fits", limit: 9) == Array("just fits".utf8))
    }

    /// Each comma would be an entry of its own: 16 kB of header into 800 kB.
    @Test func joinedBinaryValuesHaveABound() {
        var metadata = Metadata()
        let key = Array("x-bin".utf8)
        let commas = Array(repeating: UInt8(ascii: ","), count: 16_000)
        unsafe key.withUnsafeBytes { key in
            unsafe commas.withUnsafeBytes { unsafe metadata.append(key: key, value: $0) }
        }
        #expect(metadata.entries.count <= GRPCLimits.maximumJoinedValues)
    }

    @Test func backoffTakesAnyOptions() {
        var options = ChannelOptions()
        options.initialBackoff = .seconds(Int64.max)
        options.maximumBackoff = .seconds(Int64.max)
        options.backoffMultiplier = .infinity
        options.backoffJitter = .nan
        var backoff = Backoff(options)
        for _ in 0..<3 { #expect(backoff.next(random: 0.9) <= GRPCTimeout.longest) }
    }

    @Test func metadataTakesOnlyWhatMayTravel() {
        var metadata = Metadata()
        var taken: [Bool] = []
        taken.append(metadata.add("X-Key", "value"))
        #expect(metadata["x-key"] == "value")
        taken.append(metadata.add("grpc-status", "0"))
        taken.append(metadata.add("content-type", "x"))
        taken.append(metadata.add("x y", "0"))
        taken.append(metadata.add("", "0"))
        taken.append(metadata.add("x", "line\nbreak"))
        taken.append(metadata.add("x-bin", "text"))
        taken.append(metadata.add("x", binary: [1]))
        taken.append(metadata.add("x-bin", binary: [1]))
        #expect(taken == [true, false, false, false, false, false, false, false, true])
        #expect(metadata.binary("x-bin") == [1])
        #expect(metadata.entries.count == 2)
        metadata.remove("x-key")
        #expect(metadata["x-key"] == nil)
    }

    @Test func backoff() {
        var backoff = Backoff(ChannelOptions())
        var expected = 1e9
        for _ in 0..<20 {
            #expect(abs(Double(backoff.next(random: 0.5)) - expected) < 10)
            expected = min(expected * 1.6, 120e9)
        }
        #expect(backoff.next(random: 0) == 96_000_000_000)
        #expect(backoff.next(random: 1) == 144_000_000_000)
        backoff.reset()
        #expect(backoff.next(random: 0.5) == 1_000_000_000)
    }

    @Test func routes() {
        let paths = (0..<500).map { "/package.Service\($0 % 7)/Method\($0)" } + ["/a/b", "/"]
        let table = RouteTable(paths)
        for (index, path) in paths.enumerated() {
            let bytes = Array(path.utf8)
            let found = unsafe bytes.withUnsafeBytes { unsafe table.find($0) }
            #expect(found == index)
        }
        for path in ["", "/package.Service0/Method1", "/package.Service0/Method", "x"] {
            let bytes = Array(path.utf8)
            let found = unsafe bytes.withUnsafeBytes { unsafe table.find($0) }
            #expect(found == nil)
        }
    }

    @Test func descriptorPoolKnowsSymbolsAndImports() {
        var pool = DescriptorPool()
        pool.add([1, 2, 3])
        for _ in 0..<2 { pool.add(Cabstand_Test_Echo.fileDescriptor) }
        for symbol in ["cabstand.test.Echo", "cabstand.test.Echo.Unary", "cabstand.test.EchoRequest"] {
            #expect(pool.fileName(containing: symbol) == "echo.proto")
        }
        #expect(pool.fileName(containing: "cabstand.test.Nope") == nil)
        #expect(pool.closure(of: "echo.proto")?.count == 1)
        #expect(pool.closure(of: "nope.proto") == nil)
    }
}
