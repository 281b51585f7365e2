import Bytes
import HTTP1
import HTTPServer

/// The cookies of a browser's session (RFC 6265): its access token, the refresh token that makes the next one, and what people call
/// whoever has signed in with a name; and that of a sign-in that is under way. No script can read them, and no other site can
/// have them sent along with what changes something.
///
/// Over TLS their names begin with `__Host-`: then nobody but this very host can have set them, no neighbour under the same
/// domain and nobody who speaks in the clear in its place.
enum SessionCookie: String {
    case access = "cabstand-access"
    case refresh = "cabstand-refresh"
    case name = "cabstand-name"
    case signIn = "cabstand-sign-in"

    /// Its name.
    func name(secure: Bool) -> String { (secure ? "__Host-" : "") + rawValue }

    /// The value that a request carries; nil: none, or several that differ.
    func value(in request: borrowing HTTPRequest) -> [UInt8]? {
        guard request.head.has("cookie") else { return nil }
        switch request.scheme {
        case .https: return value(named: name(secure: true), in: request.head)
        case .http: return value(named: name(secure: false), in: request.head)
        // TLS may have ended at a proxy that nobody has named.
        case .unknown:
            return value(named: name(secure: true), in: request.head)
                ?? value(named: name(secure: false), in: request.head)
        }
    }

    private func value(named name: String, in head: HTTP1Head) -> [UInt8]? {
        let name = Array("\(name)=".utf8)
        var found: [UInt8]?
        var index = head.index(of: "cookie")
        while index >= 0 {
            let line = head.value(at: index)
            var start = 0
            while start < line.count {
                while start < line.count, line[start] == 32 || line[start] == 9 { start += 1 }
                var end = start
                while end < line.count, line[end] != UInt8(ascii: ";") { end += 1 }
                if let value = Self.value(line.extracting(start..<end), behind: name) {
                    // Which of two is meant nobody can know.
                    if let found, found != value { return nil }
                    found = value
                }
                start = end + 1
            }
            index = head.index(of: "cookie", from: index + 1)
        }
        return found
    }

    private static func value(_ pair: Span<UInt8>, behind name: [UInt8]) -> [UInt8]? {
        guard pair.count > name.count else { return nil }
        for index in name.indices where pair[index] != name[index] { return nil }
        var value: [UInt8] = []
        value.reserveCapacity(pair.count - name.count)
        for index in name.count..<pair.count { value.append(pair[index]) }
        while value.last == 32 || value.last == 9 { value.removeLast() }
        return value
    }

    /// What `Set-Cookie` says so that a browser forgets it.
    func end(secure: Bool) -> String { line("", seconds: 0, secure: secure) }

    /// What `Set-Cookie` says; a browser forgets it after `seconds`, at once if they are 0.
    func line(_ value: String, seconds: Int64, secure: Bool) -> String {
        "\(name(secure: secure))=\(value); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Lax\(secure ? "; Secure" : "")"
    }
}

extension HTTPRequest {
    /// Whether cookies of its answer have to be for TLS alone. Where a proxy that nobody has named may have ended TLS, the page
    /// says how it was loaded.
    var isSecure: Bool {
        switch scheme {
        case .https: return true
        case .http: return false
        case .unknown:
            guard let origin = head.value("origin"), origin.count > 8 else { return false }
            return ASCII.equalsIgnoringCase(origin.extracting(..<8), "https://")
        }
    }
}
