/// What a client has heard of the cluster.
public enum KafkaState: Sendable, Hashable {
    /// No answer yet.
    case connecting
    /// The cluster answers, and does what is asked.
    case up
    /// The cluster answers, but not all that this client needs is there or allowed: what, and the error. It is tried again.
    case refused(String)
    /// No answer, with the reason as librdkafka words it.
    case down(String)
}

/// What the Kafka clients of a process say together, for one check.
///
///     let kafka = KafkaHealth { readiness.set("kafka", $0.map { .failing($0) } ?? .ok) }
///     producer.onState = kafka.member()
///
/// The worst counts: a client that hears nothing, then what the others are refused (every reason once). Says nothing before
/// everybody has heard something. On one loop.
public final class KafkaHealth {
    private var states: [KafkaState] = []
    private var told: String??
    private let tell: (_ failure: String?) -> Void

    /// - Parameter tell: gets the reason why something fails, or nil when all is well, whenever that has changed.
    public init(_ tell: @escaping (_ failure: String?) -> Void) { self.tell = tell }

    /// For one client: takes its states.
    public func member() -> (KafkaState) -> Void {
        let index = states.count
        states.append(.connecting)
        return { [self] in
            states[index] = $0
            update()
        }
    }

    private func update() {
        guard let failure, failure != told else { return }
        told = failure
        tell(failure)
    }

    /// nil: not known yet.
    private var failure: String?? {
        var refusals: [String] = []
        for state in states {
            switch state {
            case .down(let reason): return reason
            case .refused(let reason): if !refusals.contains(reason) { refusals.append(reason) }
            case .connecting, .up: break
            }
        }
        if !refusals.isEmpty { return refusals.joined(separator: " ") }
        return states.contains(.connecting) ? .none : .some(nil)
    }
}
