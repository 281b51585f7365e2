import HTTP2
import Testing

/// RFC 9113 §8: header fields, requests and responses.
@Suite struct MessageRulesTests {
    private func isMalformed(_ fields: [(String, String)], endStream: Bool = true) -> Bool {
        let wire = Wire.server()
        let reports = wire.receive(.headers(1, fields, endStream: endStream))
        return reports.isEmpty && wire.sent() == [.reset(1, .protocolError)]
    }

    @Test func rfc9113_8_2_1_fieldValidity() {
        let names = ["X-Upper", "", "a b", "a:b", "käse", "a\u{7f}", "a(b)"]
        for name in names { #expect(isMalformed(.request + [(name, "x")]), "name \"\(name)\"") }
        for value in [" x", "x ", "\tx", "a\nb", "a\rb", "a\0b"] {
            #expect(isMalformed(.request + [("a", value)]), "value \(value.utf8)")
        }
        #expect(!isMalformed(.request + [("a", ""), ("b-c_d.e", "x y"), ("f", "ü")]))
    }

    @Test func rfc9113_8_2_2_connectionSpecificFields() {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            #expect(isMalformed(.request + [(name, "x")]), "\(name)")
        }
        #expect(isMalformed(.request + [("te", "gzip")]))
        #expect(!isMalformed(.request + [("te", "trailers")]))
    }

    @Test func rfc9113_8_3_pseudoHeaders() {
        #expect(isMalformed([("a", "b")] + .request), "behind a regular field")
        #expect(isMalformed(.request + [(":path", "/")]), "twice")
        #expect(isMalformed(.request + [(":unknown", "x")]))
        #expect(isMalformed(.request + [(":status", "200")]))
        for missing in [":method", ":scheme", ":path"] {
            #expect(isMalformed(.request.filter { $0.0 != missing }), "without \(missing)")
        }
        #expect(isMalformed([(":method", "POST"), (":scheme", "http"), (":path", "")]))
        #expect(!isMalformed([(":method", "CONNECT"), (":authority", "x:1")], endStream: false))
        #expect(isMalformed([(":method", "CONNECT"), (":authority", "x:1"), (":path", "/")]))
    }

    @Test func rfc9113_8_1_1_contentLength() {
        let five = [(String, String)].request + [("content-length", "5")]
        #expect(isMalformed(five), "no body at all")
        #expect(isMalformed(.request + [("content-length", "x")]))
        #expect(isMalformed(five + [("content-length", "6")]))
        for (body, trailers) in [([1, 2, 3, 4], false), ([1, 2, 3, 4, 5, 6], false), ([1], true)] as [([UInt8], Bool)] {
            let wire = Wire.server()
            _ = wire.receive(.headers(1, five, endStream: false))
            _ = wire.receive(.data(1, body, endStream: !trailers))
            if trailers { _ = wire.receive(.headers(1, .trailers)) }
            #expect(wire.sent().last == .reset(1, .protocolError), "\(body) \(trailers)")
        }
        let wire = Wire.server()
        _ = wire.receive(.headers(1, five, endStream: false))
        #expect(wire.receive(.data(1, [1, 2]), .data(1, [3, 4, 5], endStream: true)).count == 2)
    }

    @Test func rfc9113_8_1_trailersEndTheStreamAndHaveNoPseudoHeaders() {
        for frame in [Frame.headers(1, .trailers, endStream: false), .headers(1, [(":path", "/")])] {
            let wire = Wire.server()
            _ = wire.receive(.headers(1, endStream: false))
            #expect(wire.receive(frame) == [.reset(.protocolError, byPeer: false)])
        }
    }

    @Test func rfc9113_8_1_responses() {
        let wire = Wire.client()
        let id = wire.open()!
        #expect(id == 1)
        #expect(wire.receive(.headers(1, [(":status", "103")], endStream: false)) == [], "1xx is passed over")
        #expect(
            wire.receive(.headers(1, [(":status", "200")], endStream: false), .data(1, [1]), .headers(1, .trailers))
                == [
                    .headers(1, [":status: 200"], endStream: false), .data(1, [1], endStream: false),
                    .trailers(1, ["grpc-status: 0"]),
                ])
        let malformed: [[(String, String)]] = [
            [], [(":status", "20")], [(":status", "abc")], [(":status", "200"), (":status", "200")],
            [(":status", "101")], [(":status", "200"), (":path", "/")],
        ]
        for fields in malformed {
            let wire = Wire.client()
            _ = wire.open()
            #expect(wire.receive(.headers(1, fields)) == [.reset(.protocolError, byPeer: false)])
        }
        let early = Wire.client()
        _ = early.open()
        #expect(early.receive(.data(1, [1])) == [.reset(.protocolError, byPeer: false)], "DATA before HEADERS")
    }

    @Test func refusedBlocksKeepTheTableInStep() {
        var limits = HTTP2Limits()
        limits.maximumHeaderListSize = 300
        let wire = Wire.server(limits: limits)
        // Fields with indexing; the block is too large, so the stream is refused.
        var block = Frame.literal(.request)
        block += [0x40, 1, UInt8(ascii: "k"), 100] + [UInt8](repeating: UInt8(ascii: "v"), count: 100)
        block += [0x40, 1, UInt8(ascii: "z"), 1, UInt8(ascii: "y")]
        #expect(wire.receive(Frame(type: .headers, flags: 5, stream: 1, payload: block)) == [])
        #expect(wire.sent() == [.reset(1, .enhanceYourCalm)])
        var next = Frame.headers(3)
        next.payload.append(0xbe)
        guard case .headers(3, let fields, _)? = wire.receive(next).first else {
            Issue.record("the next request was not understood")
            return
        }
        #expect(fields.last == "z: y")
    }

    /// A response that ends with its headers has no body, whatever it promised.
    @Test func rfc9113_8_1_1_aPromisedBodyThatNeverComes() throws {
        for (length, isWhole) in [("0", true), ("5", false)] {
            let wire = Wire.client()
            let stream = try #require(wire.open())
            wire.sendHeaders(stream, .request, endStream: true)
            let reports = wire.receive(.headers(stream, .response + [("content-length", length)]))
            #expect(reports.count == 1)
            #expect((reports != [.reset(.protocolError, byPeer: false)]) == isWhole)
        }
    }
}
