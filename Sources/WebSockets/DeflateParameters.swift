/// What two endpoints have agreed upon (RFC 7692 §7.1). A window of n bits lets a message refer to what lies at most 2ⁿ bytes
/// back.
public struct DeflateParameters: Sendable, BitwiseCopyable, Equatable {
    /// The server compresses each message without what it has sent before (RFC 7692 §7.1.1.1).
    public var serverNoContextTakeover = false
    /// So does the client (RFC 7692 §7.1.1.2).
    public var clientNoContextTakeover = false
    /// The server's window, 8 to 15 bits (RFC 7692 §7.1.2.1).
    public var serverWindowBits: UInt8 = 15
    /// The client's window, 8 to 15 bits (RFC 7692 §7.1.2.2).
    public var clientWindowBits: UInt8 = 15

    /// All of the history and the largest windows: what an answer without parameters means.
    public init() {}

    /// What the one who plays `role` has to keep to when they send.
    public func sending(as role: Role) -> (noContextTakeover: Bool, windowBits: UInt8) {
        role == .server
            ? (serverNoContextTakeover, serverWindowBits) : (clientNoContextTakeover, clientWindowBits)
    }

    /// What their peer keeps to.
    public func receiving(as role: Role) -> (noContextTakeover: Bool, windowBits: UInt8) {
        sending(as: role == .server ? .client : .server)
    }
}

/// What an endpoint wants of permessage-deflate (RFC 7692), and what it compresses then. The defaults suit a server with many
/// connections: no history is kept between two messages, so that a connection between two messages costs no memory, and what
/// goes to many is compressed once for all of them.
public struct DeflateOptions: Sendable {
    /// The server compresses each message by itself. A server answers so without being asked; a client asks for it.
    public var serverNoContextTakeover = true
    /// The client compresses each message by itself.
    public var clientNoContextTakeover = true
    /// The largest window of the server, 8 to 15 bits: what it asks its zlib for, and what its client has to keep.
    public var serverWindowBits: UInt8 = 15
    /// The largest window of the client, 8 to 15 bits. A server can ask for it only if the client has said that it
    /// understands; a client of this package always does.
    public var clientWindowBits: UInt8 = 15
    /// What is sent to many (`TopicHub`) is compressed from so many bytes on: below, a packet is a packet.
    public var minimumSharedSize = 1024
    /// Subscribers with the extension from which on a shared message is compressed.
    public var minimumTakers = 2
    /// Bytes of such messages that one loop compresses in a turn, about a millisecond's worth; what is more goes as it is.
    public var sharedBytesPerTurn = 256 << 10
    /// Messages to one are compressed from so many bytes on; nil: they are not. Each costs the loop its share of zlib.
    public var minimumMessageSize: Int?
    /// zlib's level, 1 (fast) to 9 (small). Of a list of 13 KB of JSON, 6 makes a tenth less than 1, in twice the time.
    public var level: Int32 = 1
    /// Messages that may be unfinished and compressed at the same time on one loop: a few bytes of such a message can hold a
    /// context and a whole message's memory. One more is closed 1013.
    public var maximumUnfinished = 256

    /// The defaults.
    public init() {}

    // MARK: The server's half

    /// What to answer to the first of a client's offers that can be kept to (RFC 7692 §5.1 and §7.1), and how it is written in
    /// `Sec-WebSocket-Extensions`; nil: none can, and the extension is not used. An offer with an unknown, repeated or impossible
    /// parameter can't be.
    public func answer(_ offers: [WebSocketExtension]) -> (agreed: DeflateParameters, text: String)? {
        for offer in offers where offer.isDeflate {
            if let offer = DeflateOffer(offer) { return answer(offer) }
        }
        return nil
    }

    private func answer(_ offer: DeflateOffer) -> (agreed: DeflateParameters, text: String) {
        var agreed = DeflateParameters()
        var text = DeflateParameters.name
        if offer.serverNoContextTakeover || serverNoContextTakeover {
            agreed.serverNoContextTakeover = true
            text += "; server_no_context_takeover"
        }
        if offer.clientNoContextTakeover || clientNoContextTakeover {
            agreed.clientNoContextTakeover = true
            text += "; client_no_context_takeover"
        }
        agreed.serverWindowBits = min(offer.serverWindowBits ?? 15, serverWindowBits)
        // What was asked for has to be confirmed.
        if offer.serverWindowBits != nil || agreed.serverWindowBits < 15 {
            text += "; server_max_window_bits=\(agreed.serverWindowBits)"
        }
        if let bits = offer.clientWindowBits {
            agreed.clientWindowBits = min(bits, clientWindowBits)
            if agreed.clientWindowBits < 15 { text += "; client_max_window_bits=\(agreed.clientWindowBits)" }
        }
        return (agreed, text)
    }

    // MARK: The client's half

    /// The offer of a client with these options.
    public var offer: String {
        var text = DeflateParameters.name
        if serverNoContextTakeover { text += "; server_no_context_takeover" }
        if clientNoContextTakeover { text += "; client_no_context_takeover" }
        if serverWindowBits < 15 { text += "; server_max_window_bits=\(serverWindowBits)" }
        text += clientWindowBits < 15 ? "; client_max_window_bits=\(clientWindowBits)" : "; client_max_window_bits"
        return text
    }

    /// What a server's answer to `offer` says. Nil: something that was not offered, or not kept to; the client ends the
    /// connection then (RFC 7692 §7.1).
    public func accept(_ answer: WebSocketExtension) -> DeflateParameters? {
        guard answer.isDeflate, let answer = DeflateOffer(answer), !answer.hasValuelessClientWindow else { return nil }
        var agreed = DeflateParameters()
        agreed.serverNoContextTakeover = answer.serverNoContextTakeover
        // The client may do without its own history whatever was answered.
        agreed.clientNoContextTakeover = answer.clientNoContextTakeover || clientNoContextTakeover
        agreed.serverWindowBits = answer.serverWindowBits ?? 15
        agreed.clientWindowBits = min(answer.clientWindowBits ?? 15, clientWindowBits)
        guard agreed.serverWindowBits <= serverWindowBits, answer.clientWindowBits ?? 8 <= clientWindowBits,
            agreed.serverNoContextTakeover || !serverNoContextTakeover
        else { return nil }
        return agreed
    }
}

extension DeflateParameters {
    /// The extension's name (RFC 7692 §7).
    static let name = "permessage-deflate"
}

extension WebSocketExtension {
    fileprivate var isDeflate: Bool { name == DeflateParameters.name }
}

/// One element of the extension's name, its parameters checked (RFC 7692 §7.1).
private struct DeflateOffer {
    var serverNoContextTakeover = false
    var clientNoContextTakeover = false
    var serverWindowBits: UInt8?
    /// Of a client's offer that says nothing more: all that there are, 15.
    var clientWindowBits: UInt8?
    /// `client_max_window_bits` without a value: what a client may say and a server may not.
    var hasValuelessClientWindow = false

    init?(_ element: WebSocketExtension) {
        var seen: Set<String> = []
        for parameter in element.parameters {
            guard seen.insert(parameter.name).inserted else { return nil }
            switch (parameter.name, parameter.value) {
            case ("server_no_context_takeover", nil): serverNoContextTakeover = true
            case ("client_no_context_takeover", nil): clientNoContextTakeover = true
            case ("server_max_window_bits", let value?):
                guard let bits = Self.windowBits(value) else { return nil }
                serverWindowBits = bits
            case ("client_max_window_bits", nil):
                clientWindowBits = 15
                hasValuelessClientWindow = true
            case ("client_max_window_bits", let value?):
                guard let bits = Self.windowBits(value) else { return nil }
                clientWindowBits = bits
            default: return nil
            }
        }
    }

    /// RFC 7692 §7.1.2.1: 8 to 15, without leading zeros.
    private static func windowBits(_ text: String) -> UInt8? {
        guard let bits = UInt8(text), (8...15).contains(bits), text == "\(bits)" else { return nil }
        return bits
    }
}
