import Bytes
import JSONWire
import Reactor

/// One `GET /readyz` of one of our own servers, and what it said. On the loop; it keeps itself until it has the answer.
final class ReadinessQuestion: ConnectionHandler {
    /// An answer is a few hundred bytes; who sends more than this is somebody else.
    private static let maximumAnswer = 64 << 10

    private let loop: EventLoop
    private let address: SocketAddress
    private let tls: TLSClientContext?
    private let completion: (HealthCheck.Finding) -> Void
    private var answer: [UInt8] = []

    /// - Throws: `TLSError`
    init(
        on loop: EventLoop, at address: SocketAddress, isTLS: Bool,
        _ completion: @escaping (HealthCheck.Finding) -> Void
    ) throws {
        self.loop = loop
        self.address = address
        self.completion = completion
        tls = isTLS ? try TLSClientContext(trustingAnyone: ["http/1.1"]) : nil
    }

    private var url: String { "\(tls == nil ? "http" : "https")://\(address)/readyz" }

    func start() { loop.connect(address, timeout: HealthCheck.timeout, tls: tls, handler: self) }

    override func connectionOpened(_ id: ConnectionID) {
        let request = "GET /readyz HTTP/1.1\r\nHost: \(address)\r\nConnection: close\r\n\r\n"
        guard let output = unsafe loop.output(id) else { return }
        unsafe output.pointee.append(utf8: request)
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        unsafe answer.append(contentsOf: bytes.prefix(Self.maximumAnswer - answer.count))
        if answer.count == Self.maximumAnswer { loop.close(id) }
        return bytes.count
    }

    /// The server closes when it has answered.
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        if answer.isEmpty {
            completion(HealthCheck.Finding(isHealthy: false, text: "no answer from \(url)\(Self.words(reason))"))
        } else {
            let finding = Self.finding(answer)
            completion(HealthCheck.Finding(isHealthy: finding.isHealthy, text: "\(finding.text) (\(url))"))
        }
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { connectionClosed(id, reason) }

    /// How "no answer" goes on. The loop is stopped when the time is over.
    static func words(_ reason: CloseReason) -> String {
        switch reason {
        case .shutdown, .connectTimeout: " within \(HealthCheck.timeout / 1_000_000) ms"
        default: ": \(reason)"
        }
    }

    /// For a terminal and for a log: whoever answers may be anybody.
    private static func printable(_ text: String) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.clippedVisibly(to: 500).unicodeScalars {
            shown.append(scalar.properties.generalCategory == .control ? "?" : scalar)
        }
        return String(shown)
    }

    /// What a whole answer says: `degraded: kafka: 1/1 brokers are down`.
    static func finding(_ answer: [UInt8]) -> HealthCheck.Finding {
        let separator = Array("\r\n\r\n".utf8)
        let statusLine = printable(String(decoding: answer.prefix { $0 != 13 && $0 != 10 }.prefix(200), as: UTF8.self))
        let words = statusLine.split(separator: " ")
        guard words.count > 1, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]),
            let head = answer.firstRange(of: separator),
            let report = try? report(Array(answer[head.upperBound...]))
        else { return HealthCheck.Finding(isHealthy: false, text: "an answer that is not of /readyz: \(statusLine)") }
        return HealthCheck.Finding(isHealthy: status == 200, text: printable(report))
    }

    /// The status, and behind it each check that is not ok.
    private static func report(_ body: [UInt8]) throws(JSONError) -> String {
        var json = JSONReader(body.span)
        var status = ""
        var reasons: [String] = []
        try json.beginObject()
        while let member = try json.nextMember() {
            if json.isEqual(member, "status") {
                status = try json.readString()
            } else if json.isEqual(member, "checks") {
                try json.beginObject()
                while let check = try json.nextMember() {
                    let name = json.string(of: check)
                    let text = try json.readString()
                    if text != "ok" { reasons.append("\(name): \(text)") }
                }
            } else {
                try json.skipValue()
            }
        }
        try json.finish()
        return reasons.isEmpty ? status : "\(status): \(reasons.joined(separator: "; "))"
    }
}
