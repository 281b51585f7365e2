import AccessTokens
import Basics
import HTTPClient
import JSONWire
import Reactor
import Synchronization
import Telemetry

/// An issuer that publishes its keys: what all loops of a program know of it. Thread-safe.
public final class PublishedIssuer: Sendable {
    /// What `iss` says, and where its metadata is found.
    public let name: String
    /// When a key that is not known may be asked for again, loop nanoseconds.
    private let mayAskAt = Atomic<UInt64>(0)
    fileprivate let isAsking = Atomic<Bool>(false)
    fileprivate let isKnown = Atomic<Bool>(false)

    init(_ name: String) { self.name = name }

    /// Whether it is worth waiting for the issuer's keys of now: they are being fetched, or may be.
    func isWorthAsking(now: UInt64) -> Bool {
        isAsking.load(ordering: .relaxed) || now >= mayAskAt.load(ordering: .relaxed)
    }

    /// Whether its keys have been had at all.
    var hasKeys: Bool { isKnown.load(ordering: .relaxed) }

    fileprivate func rest(until instant: UInt64) { mayAskAt.store(instant, ordering: .relaxed) }
}

/// The keys of issuers that publish them: found by their metadata (OpenID Connect Discovery 1.0 §4, RFC 8414 §3), fetched over HTTPS, and
/// fetched again when they are old or when a token names one that is not there. While an issuer is away, its known keys go on.
/// Belongs to its loop; one is enough for a program.
public final class IssuerKeys {
    public enum Limits {
        /// How old keys become if the issuer says nothing.
        public static let age: Duration = .seconds(600)
        /// What an issuer can say of that. Reason: a key that it withdraws is to be gone within a day.
        static let ages: ClosedRange<Duration> = .seconds(60) ... .seconds(86_400)
        /// Between two fetches that unknown keys have caused. Reason: anybody can make up names of keys.
        public static let pause: Duration = .seconds(60)
        /// After a fetch that has failed.
        static let retry: Duration = .seconds(30)
        /// What one of the two requests may take.
        static let timeout: Duration = .seconds(5)
        /// The longest answer, in bytes.
        static let bytes = 256 << 10
    }

    private final class Entry {
        let issuer: PublishedIssuer
        var waiting: [() -> Void] = []
        var timer: TimerID?
        var keys: JSONWebKeySet?
        var metadata: ProviderMetadata?
        var isFailing = false

        init(_ issuer: PublishedIssuer) { self.issuer = issuer }
    }

    private let loop: EventLoop
    private let client: HTTPClient
    private let entries: [String: Entry]
    private let logger = Logger(label: "access")
    private let metrics: FetchMetrics
    private var isClosed = false
    /// An issuer's keys are others than before.
    public var onChange: ((_ issuer: String, _ keys: JSONWebKeySet) -> Void)?

    /// - Parameter client: of the same loop.
    public init(loop: EventLoop, issuers: [PublishedIssuer], client: HTTPClient) {
        self.loop = loop
        self.client = client
        entries = Dictionary(issuers.map { ($0.name, Entry($0)) }, uniquingKeysWith: { first, _ in first })
        metrics = FetchMetrics()
    }

    /// Fetches all keys for the first time.
    public func start() { for entry in entries.values { fetch(entry) } }

    /// Fetches an issuer's keys, or joins those who wait for them; `done` is called when there is an answer, at once if the
    /// issuer was asked within the last minute.
    public func refetch(_ issuer: String, _ done: @escaping () -> Void) {
        guard !isClosed, let entry = entries[issuer], entry.issuer.isWorthAsking(now: loop.now) else { return done() }
        entry.waiting.append(done)
        fetch(entry)
    }

    /// The keys that are known.
    public func keys(of issuer: String) -> JSONWebKeySet? { entries[issuer]?.keys }

    /// What an issuer has said of itself when its keys were fetched.
    func metadata(of issuer: String) -> ProviderMetadata? { entries[issuer]?.metadata }

    /// Fetches no more.
    public func close() {
        isClosed = true
        for entry in entries.values {
            if let timer = entry.timer { loop.cancel(timer) }
            entry.timer = nil
        }
        client.close()
    }

    // MARK: One fetch

    private func fetch(_ entry: Entry) {
        guard !isClosed,
            entry.issuer.isAsking.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged
        else { return }
        if let timer = entry.timer { loop.cancel(timer) }
        entry.timer = nil
        loop.start { [weak self, client, name = entry.issuer.name] in
            do throws(FetchError) {
                self?.fetched(entry, try await Self.fetch(name, client))
            } catch {
                self?.failed(entry, error)
            }
        }
    }

    private func fetched(_ entry: Entry, _ answer: Fetched) {
        metrics.succeeded.increment()
        let name = entry.issuer.name
        for line in answer.keys.refused {
            logger.info("a key can't be used", metadata: ["issuer": name, "why": line])
        }
        if entry.isFailing || entry.keys == nil {
            logger.notice("an issuer's keys are there", metadata: ["issuer": name])
        }
        entry.isFailing = false
        entry.metadata = answer.metadata
        let isNew = entry.keys.map { !$0.isSame(as: answer.keys) } ?? true
        entry.keys = answer.keys
        if isNew { onChange?(name, answer.keys) }
        entry.issuer.isKnown.store(true, ordering: .relaxed)
        end(entry, again: min(max(answer.age, Limits.ages.lowerBound), Limits.ages.upperBound))
    }

    private func failed(_ entry: Entry, _ error: FetchError) {
        metrics.failed.increment()
        if !entry.isFailing {
            logger.warning(
                entry.keys == nil
                    ? "an issuer's keys can't be had; its tokens are refused until they are there"
                    : "an issuer's keys can't be fetched; those that are known go on",
                metadata: ["issuer": entry.issuer.name, "error": error.description])
        }
        entry.isFailing = true
        end(entry, again: Limits.retry)
    }

    private func end(_ entry: Entry, again age: Duration) {
        entry.issuer.rest(until: loop.now + Limits.pause.nanoseconds)
        entry.issuer.isAsking.store(false, ordering: .relaxed)
        let waiting = entry.waiting
        entry.waiting = []
        for done in waiting { done() }
        if isClosed { return }
        // Not all programs in the same second.
        let spread = age.nanoseconds
        let delay = spread - spread / 10 + loop.randomNumber() % max(1, spread / 10)
        entry.timer = loop.schedule(after: delay) { [weak self, weak entry] in
            guard let self, let entry else { return }
            entry.timer = nil
            fetch(entry)
        }
    }

    // MARK: What is fetched

    /// Why there are no keys.
    private struct FetchError: Error, CustomStringConvertible {
        let description: String
    }

    /// What an issuer publishes.
    private struct Fetched {
        let metadata: ProviderMetadata
        let keys: JSONWebKeySet
        /// How old they may become.
        let age: Duration
    }

    private static func fetch(_ issuer: String, _ client: HTTPClient) async throws(FetchError) -> Fetched {
        // §4.1: behind the issuer's own path, without a slash between.
        let root = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
        let metadata = try await get(root + "/.well-known/openid-configuration", client)
        let document: ProviderMetadata
        do throws(JSONError) {
            document = try ProviderMetadata(metadata.body.span)
        } catch {
            throw FetchError(description: "its metadata is not JSON: \(error.explanation)")
        }
        // §4.3: to the letter; else one issuer could speak for another.
        guard document.issuer == issuer else {
            throw FetchError(
                description: "its metadata is that of \(document.issuer.map { "\"\($0.prefix(100))\"" } ?? "nobody")")
        }
        guard let address = document.keys else { throw FetchError(description: "its metadata has no jwks_uri") }
        let response = try await get(address, client)
        let set: JSONWebKeySet
        do throws(JSONWebKeySetError) {
            set = try JSONWebKeySet(response.body.span)
        } catch {
            throw FetchError(description: "its keys are \(error)")
        }
        guard !set.keys.isEmpty else {
            throw FetchError(description: "its set has no key that tokens can be verified with")
        }
        return Fetched(metadata: document, keys: set, age: response.fields.maximumAge ?? Limits.age)
    }

    private static func get(_ address: String, _ client: HTTPClient) async throws(FetchError) -> HTTPClientResponse {
        guard isSafe(address) else { throw FetchError(description: "\(address.prefix(200)) is not https") }
        let response: HTTPClientResponse
        do throws(HTTPClientError) {
            response = try await client.get(
                address, fields: ["Accept": "application/json"], limit: Limits.bytes, timeout: Limits.timeout)
        } catch {
            throw FetchError(description: "\(address.prefix(200)): \(error)")
        }
        guard response.status == 200 else {
            throw FetchError(description: "\(address.prefix(200)) answers \(response.status)")
        }
        return response
    }

    /// https, or this machine itself: a provider for development.
    static func isSafe(_ address: String) -> Bool {
        guard let url = try? HTTPURL(address) else { return false }
        return url.origin.isSecure || ["localhost", "127.0.0.1", "::1"].contains(url.origin.host)
    }
}

/// What is counted of fetches.
struct FetchMetrics {
    let succeeded: Counter
    let failed: Counter

    init() {
        func counter(_ outcome: String) -> Counter {
            MetricRegistry.shared.counter(
                name: "cabstand_issuer_key_fetches_total", help: "Fetches of issuers' keys, by what became of them.",
                labels: ["outcome": outcome])
        }
        succeeded = counter("ok")
        failed = counter("failed")
    }
}
