import Bytes
import HTTP1
import Reactor

/// What is asked of a server.
public struct HTTPClientRequest: Sendable {
    /// The method; CONNECT and methods that have no name here can't be sent.
    public var method: HTTP1Method
    /// Where it goes.
    public var url: HTTPURL
    /// Fields beside those that the client says itself: Host, Content-Length, Accept-Encoding with `decodesGzip`, and a User-Agent
    /// unless there is one here.
    public var fields: HTTPClientFields
    /// The body, which is not copied however often it is sent. An empty one is a body, too: it is said to be of no bytes.
    public var body: SharedBytes?
    /// What all of it may take: waiting, connecting, redirects and the last byte of the body.
    public var timeout: Duration
    /// How many redirects are followed (RFC 9110 §15.4); 0: a redirect is a response like others. Never from https to http; what is
    /// for one origin (Authorization, Cookie) does not go to another.
    public var redirects: Int
    /// Says that gzip is understood, and decodes it: the response's body is what it was before. Its fields stay as they came. Without
    /// effect on a request that itself says what it accepts, or that asks for a range.
    public var decodesGzip = true

    /// A request for `url`.
    public init(
        _ method: HTTP1Method = .get, _ url: HTTPURL, fields: HTTPClientFields = [:], body: SharedBytes? = nil,
        timeout: Duration = .seconds(30), redirects: Int = 0
    ) {
        self.method = method
        self.url = url
        self.fields = fields
        self.body = body
        self.timeout = timeout
        self.redirects = redirects
    }

    /// A request for the URL that is written so.
    /// - Throws: `HTTPClientError.badURL`
    public init(
        _ method: HTTP1Method = .get, _ url: String, fields: HTTPClientFields = [:], body: [UInt8]? = nil,
        timeout: Duration = .seconds(30), redirects: Int = 0
    ) throws(HTTPClientError) {
        self.init(
            method, try HTTPURL(url), fields: fields, body: body.map { SharedBytes($0) }, timeout: timeout,
            redirects: redirects)
    }

    /// Whether the client offers gzip of its own accord. A part of a compressed body could not be decoded.
    var offersGzip: Bool { decodesGzip && fields["accept-encoding"] == nil && fields["range"] == nil }

    /// Whether doing it twice is doing it once (RFC 9110 §9.2.2).
    var isIdempotent: Bool {
        switch method {
        case .post, .patch, .connect, .other: false
        case .get, .head, .put, .delete, .options, .trace: true
        }
    }
}

/// What a server has answered.
public struct HTTPClientResponse: Sendable {
    /// The status code, 200 to 999: interim responses are left out.
    public let status: Int
    /// The head's fields. Those of a trailer section are checked and dropped.
    public let fields: HTTPClientFields
    /// Whose answer it is: another's than was asked for when redirects were followed.
    public let url: HTTPURL
    /// The body; empty where it is streamed.
    public internal(set) var body: [UInt8] = []

    /// The body as text; what is not UTF-8 becomes U+FFFD.
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// Whether the status says that the request has succeeded (RFC 9110 §15.3).
    public var isSuccess: Bool { (200..<300).contains(status) }
}
