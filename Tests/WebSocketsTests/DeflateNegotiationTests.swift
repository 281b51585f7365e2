import Testing
import WebSockets

/// RFC 7692 §7.1, and the field that it is written in (RFC 6455 §9.1).
@Suite struct DeflateNegotiationTests {
    private var everything: DeflateOptions {
        var options = DeflateOptions()
        options.serverNoContextTakeover = false
        options.clientNoContextTakeover = false
        return options
    }

    private func list(_ text: String) -> [WebSocketExtension]? { WebSocketExtension.list(Array(text.utf8).span) }

    private func answer(_ text: String, _ options: DeflateOptions) throws -> String? {
        options.answer(try #require(list(text)))?.text
    }

    @Test func behaviour17_theDefaultKeepsNoContexts() throws {
        let text = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        #expect(try answer("permessage-deflate; client_max_window_bits", .init()) == text)
        #expect(try answer("permessage-deflate", .init()) == text)
    }

    @Test(arguments: [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=9", "permessage-deflate; client_max_window_bits=9"),
        ("permessage-deflate; client_max_window_bits=\"10\"", "permessage-deflate; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=\"1\\0\"", "permessage-deflate; client_max_window_bits=10"),
        ("permessage-deflate;server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        // The first that can be kept to.
        (
            "foo, permessage-deflate; server_max_window_bits=11, permessage-deflate",
            "permessage-deflate; server_max_window_bits=11"
        ),
        (
            "permessage-deflate; foo=1, permessage-deflate; server_max_window_bits=16 , ,permessage-deflate ; client_max_window_bits = 12",
            "permessage-deflate; client_max_window_bits=12"
        ),
    ])
    func rfc7692_7_1_whatIsAnswered(offer: String, expected: String) throws {
        #expect(try answer(offer, everything) == expected)
    }

    @Test(arguments: [
        "permessage-deflate; foo", "permessage-deflate; foo=1", "permessage-deflate; Server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+9", "permessage-deflate; server_max_window_bits=9x",
        "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=99999999999999999999", "x-webkit-deflate-frame", "permessage-bzip2",
        "",
        " , ,",
    ])
    func rfc7692_7_1_whatCannotBeKeptToIsDeclined(offer: String) throws {
        #expect(try answer(offer, everything) == nil)
    }

    @Test(arguments: [
        "permessage-deflate;", "permessage-deflate; =1", "; a", "a b", "a; b=", "a; b=\"", "a; b=\"\"", "a; b=\"c d\"",
        "a; b=\"c", "a; b=\"c\\", "a; b=c d", "a; b==c", "a;;b", "\"a\"", "a=b", "a\u{e9}", "a; b=\"\\\"\"",
        String(repeating: "a,", count: WebSocketExtension.maximumCount + 1),
        "a" + String(repeating: ";b", count: WebSocketExtension.maximumParameters + 1),
    ])
    func rfc6455_9_1_whatIsNoListOfExtensions(text: String) {
        #expect(list(text) == nil)
    }

    /// Whatever both sides want, the smaller window and the wish for no context count.
    @Test func rfc7692_7_1_everyOfferAndEveryAnswer() throws {
        for serverBits in 8...15 as ClosedRange<UInt8> {
            for clientBits in 8...15 as ClosedRange<UInt8> {
                for flags in 0..<16 {
                    var client = DeflateOptions()
                    client.serverWindowBits = serverBits
                    client.clientWindowBits = clientBits
                    client.serverNoContextTakeover = flags & 1 == 1
                    client.clientNoContextTakeover = flags & 2 == 2
                    var server = DeflateOptions()
                    server.serverWindowBits = 23 - serverBits
                    server.clientWindowBits = 23 - clientBits
                    server.serverNoContextTakeover = flags & 4 == 4
                    server.clientNoContextTakeover = flags & 8 == 8
                    let offers = try #require(list(client.offer))
                    let answer = try #require(server.answer(offers))
                    let element = try #require(list(answer.text)?.first)
                    let accepted = client.accept(element)
                    #expect(accepted == answer.agreed, "\(client.offer) \(answer.text)")
                    #expect(answer.agreed.serverWindowBits == min(serverBits, 23 - serverBits))
                    #expect(answer.agreed.clientWindowBits == min(clientBits, 23 - clientBits))
                    #expect(answer.agreed.serverNoContextTakeover == (flags & 5 != 0))
                    #expect(answer.agreed.clientNoContextTakeover == (flags & 10 != 0))
                }
            }
        }
    }

    @Test(arguments: [
        "permessage-deflate", "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=13",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; foo", "foo",
        "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_max_window_bits=10",
    ])
    func rfc7692_7_1_anAnswerThatDoesNotKeepToTheOffer(text: String) throws {
        var options = DeflateOptions()
        options.serverWindowBits = 10
        options.clientWindowBits = 12
        let element = try #require(list(text)?.first)
        #expect(options.accept(element) == nil)
    }
}
