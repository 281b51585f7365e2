import GRPCRuntime
import Reactor

/// One driver's positions on their way to the driver service, and what becomes of them. On the loop of its channel.
///
///              send                       the stream breaks
///     idle ───────────▶ streaming ───────────────────────────▶ backing off ── the wait is over ──▶ idle
///      ▲ ▲                │   └── UNIMPLEMENTED ──▶ reporting ──── breaks ───────▲
///      │ └── no positions ┘                             │
///      └────────────────────── settle: it ends ─────────┘
///
/// `StreamLocations` acknowledges as it goes. A service that does not know it yet (an older one, during a rolling upgrade) gets
/// `ReportLocations`, which counts when it ends: one call from each `settle` to the next. What the service has acknowledged is told
/// as accepted or dropped, and everything else as lost, though some of it may have arrived; nothing is sent twice.
public final class LocationSender {
    /// What became of positions.
    public struct Outcome: Equatable {
        /// What the service has taken.
        public var accepted: UInt64 = 0
        /// What the service has dropped, by reason: `LocationDrop`'s words.
        public var dropped: [String: UInt64] = [:]
        /// What was never acknowledged.
        public var lost: UInt64 = 0
        /// Whether nothing became of anything.
        public var isEmpty: Bool { self == Outcome() }
    }

    private enum Stream {
        case streaming(BidirectionalCall<Driver_V1_ReportLocationsRequest>)
        case reporting(ClientStreamingCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>)

        var call: SendingCall<Driver_V1_ReportLocationsRequest> {
            switch self {
            case .streaming(let call): call
            case .reporting(let call): call
            }
        }
    }

    private let driver: String
    private let service: LocationService
    private var options: CallOptions
    private var stream: Stream?
    /// Of `stream`: what is told of an earlier one is not heard.
    private var number: UInt64 = 0
    /// Positions that were given to `stream`, and how many it had at the last `settle`.
    private var sent: UInt64 = 0
    private var sentAtSettle: UInt64 = 0
    /// The newest acknowledgement of `stream`.
    private var counted = Driver_V1_ReportLocationsResponse()
    /// What `stream` was given before its first acknowledgement: it is sent again to a service that does not know the method.
    private var unanswered: [Driver_V1_ReportLocationsRequest] = []
    private var outcome = Outcome()
    private var backoff: RetryBackoff
    /// No stream is opened before, in the loop's nanoseconds.
    private var pausedUntil: UInt64 = 0

    /// Nanoseconds that the last answer of a stream may take.
    private static let answerTimeout: UInt64 = 5_000_000_000
    /// Positions that are kept until the first acknowledgement. Reason: a round trip; a driver sends one or two a second.
    private static let unansweredLimit = 32

    /// - Parameters:
    ///   - driver: the driver's id.
    ///   - options: of each call that is made.
    public init(driver: String, service: LocationService, options: CallOptions = CallOptions()) {
        self.driver = driver
        self.service = service
        self.options = options
        backoff = RetryBackoff(
            first: 1_000_000_000, last: 5_000_000_000, seed: service.client.channel.loop.randomNumber())
    }

    private var loop: EventLoop { service.client.channel.loop }
    private var acknowledged: UInt64 { counted.dropped.values.reduce(counted.accepted) { $0 &+ $1 } }

    /// Whether nothing is under way and nothing is left to tell.
    public var isIdle: Bool { stream == nil && outcome.isEmpty }

    /// Sends a position, whatever driver it names. It is lost while the service can't take it: the next one is worth more than a
    /// backlog.
    public func send(_ position: Driver_V1_ReportLocationsRequest) {
        if stream == nil, loop.now >= pausedUntil { open() }
        guard let stream, stream.call.isWritable else {
            outcome.lost += 1
            return
        }
        var position = position
        position.driverID = sent == 0 ? driver : ""
        sent += 1
        if case .streaming = stream, acknowledged == 0, unanswered.count < Self.unansweredLimit {
            unanswered.append(position)
        }
        stream.call.send(position)
    }

    /// Tells what became of positions since the last time: at once, or when the service has answered. To be called every few seconds
    /// while it is not idle: a stream that was not used in between is ended, and so is one that acknowledged nothing.
    public func settle(_ completion: @escaping (Outcome) -> Void) {
        switch stream {
        case .reporting(let call):
            let (before, sent) = (outcome, sent)
            leave()
            outcome = Outcome()
            let deadline = loop.schedule(after: Self.answerTimeout) { call.cancel() }
            call.finish { [loop] result in
                loop.cancel(deadline)
                var outcome = before
                switch result {
                case .success(let counts): outcome.add(counts)
                case .failure: outcome.lost += sent
                }
                completion(outcome)
            }
            return
        case .streaming(let call):
            if acknowledged < sentAtSettle {
                call.cancel()
            } else if sent == sentAtSettle, acknowledged >= sent {
                end()
            } else {
                sentAtSettle = sent
            }
        case nil: break
        }
        completion(outcome)
        outcome = Outcome()
    }

    /// Makes its calls with other options from the next position on: with a new token, before the service ends the stream that came
    /// with the old one. The stream that is open ends as by `end`.
    public func use(_ options: CallOptions) {
        self.options = options
        end()
        // What was refused was refused to the options before.
        pausedUntil = 0
    }

    /// Sends no more. What was sent still counts for the service; nothing is told of it.
    public func end() {
        guard let call = stream?.call else { return }
        leave()
        call.finish()
        loop.schedule(after: Self.answerTimeout) { call.cancel() }
    }

    // MARK: Streams

    private func open() {
        leave()
        let number = number
        if loop.now < service.reportsUntil {
            let call = service.client.reportLocations(options: options)
            call.onEnd = { [weak self] _ in self?.ended(number, nil) }
            stream = .reporting(call)
        } else {
            stream = .streaming(
                service.client.streamLocations(
                    options: options, onMessage: { [weak self] in self?.acknowledged(number, $0) },
                    onEnd: { [weak self] in self?.ended(number, $0) }))
        }
    }

    /// What `stream` still says is not heard.
    private func leave() {
        stream = nil
        number &+= 1
        sent = 0
        sentAtSettle = 0
        counted = Driver_V1_ReportLocationsResponse()
        unanswered = []
    }

    private func acknowledged(_ number: UInt64, _ counts: Driver_V1_ReportLocationsResponse) {
        guard number == self.number else { return }
        outcome.add(counts, beyond: counted)
        counted = counts
        unanswered = []
        backoff.succeeded()
    }

    /// A stream that nobody has ended here.
    private func ended(_ number: UInt64, _ error: RPCError?) {
        guard number == self.number else { return }
        let (acknowledged, known) = (acknowledged, unanswered)
        outcome.lost += sent - min(sent, acknowledged)
        leave()
        if error?.code == .unimplemented, acknowledged == 0 {
            service.reportsUntil = loop.now + LocationService.reportsFor
            outcome.lost -= min(outcome.lost, UInt64(known.count))
            for position in known { send(position) }
        } else {
            pausedUntil = loop.now + backoff.failed(at: loop.now)
        }
    }
}

extension LocationSender.Outcome {
    /// Adds what a stream has counted, but for what it had counted `before`.
    fileprivate mutating func add(
        _ counts: Driver_V1_ReportLocationsResponse, beyond before: Driver_V1_ReportLocationsResponse = .init()
    ) {
        accepted &+= counts.accepted - min(counts.accepted, before.accepted)
        for (reason, count) in counts.dropped {
            let more = count - min(count, before.dropped[reason] ?? 0)
            if more > 0 { dropped[reason, default: 0] &+= more }
        }
    }
}

/// The driver service, for all `LocationSender`s of one channel. On the channel's loop.
public final class LocationService {
    /// Calls the service.
    public let client: Driver_V1_DriverServiceClient
    /// Until then it gets `ReportLocations`, in the loop's nanoseconds.
    var reportsUntil: UInt64 = 0

    /// Nanoseconds for which a service that does not know `StreamLocations` is not asked again. Reason: it is one that is about to be
    /// upgraded, and each question is a call.
    static let reportsFor: UInt64 = 60_000_000_000

    /// For the service that `client` calls.
    public init(client: Driver_V1_DriverServiceClient) { self.client = client }
}
