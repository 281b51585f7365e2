import AccessTokens
import HTTPClient
import Reactor

/// The way from all loops of a program to the keys of issuers that publish them, which live on one. Thread-safe.
public struct IssuerKeysLink: Sendable {
    private let keys: LoopBound<IssuerKeys>
    private let names: [String]

    /// nil: no issuer of the configuration publishes its keys. On the thread that made the loop, before it runs.
    /// - Throws: `TLSError` if the system's certificates can't be read.
    public init?(_ configuration: AccessConfiguration, loop: EventLoop) throws(TLSError) {
        if configuration.published.isEmpty { return nil }
        let client = HTTPClient(loop: loop, tls: try TLSClientContext(), userAgent: "cabstand")
        names = configuration.published.map(\.name)
        keys = LoopBound(IssuerKeys(loop: loop, issuers: configuration.published, client: client), loop: loop)
    }

    /// Fetches all keys; `tell` hears on the keys' loop of each set that is new. Once.
    public func start(_ tell: @escaping @Sendable (_ issuer: String, _ keys: JSONWebKeySet) -> Void) {
        keys.loop.submit { [keys] in
            keys.value.onChange = tell
            keys.value.start()
        }
    }

    /// Tells of all keys that are known once more: whoever reads the settings again has lost them.
    public func tellAgain() {
        keys.loop.submit { [keys, names] in
            for name in names {
                if let set = keys.value.keys(of: name) { keys.value.onChange?(name, set) }
            }
        }
    }

    /// Returns when the issuer has been asked, or is not asked again so soon.
    public func refetch(_ issuer: String) async {
        await withCheckedContinuation { continuation in
            keys.loop.submit { [keys] in keys.value.refetch(issuer) { continuation.resume() } }
        }
    }

    /// Fetches no more.
    public func close() { keys.loop.submit { [keys] in keys.value.close() } }
}
