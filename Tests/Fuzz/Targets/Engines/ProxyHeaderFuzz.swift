import Reactor

/// The PROXY protocol's header: what is decided of the first bytes stays decided whatever follows, a header is never longer than it
/// says, and every byte of it was needed.
func fuzzProxyHeader(_ bytes: [UInt8]) throws {
    let whole = ProxyHeader.parse(bytes.span)
    var decided: ProxyHeader.Outcome?
    for count in 0...min(bytes.count, ProxyHeader.maximumLength) {
        let outcome = ProxyHeader.parse(bytes.span.extracting(0..<count))
        if let decided {
            try promise(outcome == decided, "\(decided) became \(outcome) with \(count) bytes")
            continue
        }
        guard outcome != .needsMore else { continue }
        decided = outcome
        if case .header(let header) = outcome {
            try promise(header.length == count, "\(header.length) bytes of \(count)")
        }
    }
    if let decided {
        try promise(whole == decided, "\(decided) became \(whole)")
    } else {
        try promise(whole == .needsMore && bytes.count < ProxyHeader.maximumLength, "a header without an end: \(whole)")
    }
}
