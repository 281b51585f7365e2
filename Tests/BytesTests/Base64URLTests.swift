import Bytes
import Testing

@Suite struct Base64URLTests {
    private func encode(_ bytes: [UInt8]) -> String { Base64URL.encode(bytes.span) }

    private func decode(_ text: [UInt8]) -> [UInt8]? { Base64URL.decode(text.span) }

    @Test func bytesComeBack() {
        for count in 0..<70 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
            let text = encode(bytes)
            #expect(!text.contains("=") && !text.contains("+") && !text.contains("/"))
            #expect(decode(Array(text.utf8)) == bytes)
        }
    }

    /// RFC 4648 §3.5: two texts must not stand for the same bytes.
    @Test func eachValueHasOneForm() {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var forms: [[UInt8]: Int] = [:]
        for first in digits {
            for second in digits {
                if let bytes = decode([first, second]) { forms[bytes, default: 0] += 1 }
            }
        }
        #expect(forms.count == 256)
        #expect(forms.values.allSatisfy { $0 == 1 })
        for text in ["A", "AAAAA", "AA==", "AAA=", "A+AA", "A/AA", "AA A", "AAB", "A\u{0}AA", "AAAé"] {
            #expect(decode(Array(text.utf8)) == nil, "\(text)")
        }
    }
}
