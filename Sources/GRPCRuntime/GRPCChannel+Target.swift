extension GRPCChannel {
    /// Why a name has no addresses, in words.
    struct ResolveFailure: Error, ExpressibleByStringInterpolation {
        let text: String
        init(_ text: String) { self.text = text }
        init(stringLiteral value: String) { text = value }
    }

    /// Host and port of `host:port` or `[v6]:port`; nil: it is of neither form.
    static func parse(_ target: String) -> (String, UInt16)? {
        guard let colon = target.lastIndex(of: ":"), let port = UInt16(target[target.index(after: colon)...]) else {
            return nil
        }
        var host = target[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }
}
