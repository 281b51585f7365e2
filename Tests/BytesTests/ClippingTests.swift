import Bytes
import Testing

@Suite struct ClippingTests {
    @Test(arguments: [
        ("", ""), ("abc", "abc"), ("abcd", "abcd"), ("abcde", "abcd"), ("äöüßé", "äöüß"), ("🚕🚕🚕🚕🚕", "🚕🚕🚕🚕"),
        ("e\u{301}e\u{301}e\u{301}", "e\u{301}e\u{301}e\u{301}"),
        // Sixteen bytes, and no half of a code point.
        ("a" + String(repeating: "\u{301}", count: 30_000), "a" + String(repeating: "\u{301}", count: 7)),
    ])
    func aTextIsClipped(text: String, beginning: String) {
        #expect(text.clipped(to: 4).utf8.elementsEqual(beginning.utf8))
        #expect(text.dropFirst(0).clipped(to: 4) == text.clipped(to: 4))
        let isWhole = text.clipped(to: 4).utf8.count == text.utf8.count
        #expect(text.clippedVisibly(to: 4) == (isWhole ? text : text.clipped(to: 4) + "…"))
    }

    @Test func sameIsByBytes() {
        #expect("é".isSame(as: "é") && !"é".isSame(as: "e\u{301}") && "é" == "e\u{301}" && !"a".isSame(as: "ab"))
    }
}
