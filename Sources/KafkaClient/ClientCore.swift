import CRdKafka
import Reactor
import Telemetry

/// What a producer and a consumer have in common: the client, its blocking thread, its state, logs and errors.
final class ClientCore {
    let loop: EventLoop
    let configuration: KafkaConfiguration
    let worker: BlockingThread
    let logger: Logger
    private let errorCount: Counter
    private let upGauge: Gauge
    private let refusedGauge: Gauge
    private var errorLogs = LogRateLimit()
    private var stateLogs = LogRateLimit()

    private var hasAnswered = false
    private var outage: KafkaError?
    /// What the cluster refuses, by the words for it: a topic that is missing, one that may not be written.
    private var refusals: [String: KafkaError] = [:]
    private(set) var state = KafkaState.connecting
    var onState: (KafkaState) -> Void = { _ in }

    /// - Parameter role: names the client in metrics and log lines.
    /// - Throws: if the system has no thread to give.
    init(loop: EventLoop, configuration: KafkaConfiguration, role: String) throws(KafkaError) {
        self.loop = loop
        self.configuration = configuration
        worker = try BlockingThread()
        logger = Logger(label: "kafka").with("client", role)
        errorCount = MetricRegistry.shared.counter(
            name: .own("kafka_errors_total"), help: "Errors that librdkafka reported.", labels: ["client": role])
        upGauge = MetricRegistry.shared.gauge(
            name: .own("kafka_up"), help: "1 while the cluster answers.", labels: ["client": role])
        refusedGauge = MetricRegistry.shared.gauge(
            name: .own("kafka_refused"),
            help: "1 while the cluster refuses something that the client needs, such as a topic that is missing.",
            labels: ["client": role])
    }

    /// The cluster has answered something.
    func isUp() {
        if hasAnswered && outage == nil { return }
        hasAnswered = true
        outage = nil
        become()
    }

    /// A new reason for the same outage is no news.
    func isDown(_ error: KafkaError) {
        if outage != nil { return }
        outage = error
        become()
    }

    var isRefused: Bool { !refusals.isEmpty }

    /// The cluster answers, and refuses `what` ("The topic trip_events", "Writing to the topic trip_events").
    func refuses(_ what: String, _ error: KafkaError) {
        if refusals[what]?.code == error.code { return }
        refusals[what] = error
        become()
    }

    /// `what` works, again or still.
    func works(_ what: String) {
        if refusals.isEmpty { return }
        guard refusals.removeValue(forKey: what) != nil else { return }
        become()
    }

    private func become() {
        let next: KafkaState
        if let outage {
            next = .down(outage.description)
        } else if !refusals.isEmpty {
            let reasons = refusals.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)." }
            next = .refused(reasons.joined(separator: " "))
        } else {
            next = hasAnswered ? .up : .connecting
        }
        if state == next { return }
        state = next
        refusedGauge.set(refusals.isEmpty ? 0 : 1)
        upGauge.set(next.isAnswering ? 1 : 0)
        log(next)
        onState(next)
    }

    private func log(_ state: KafkaState) {
        // Also a cluster that comes and goes many times a second says so at a bounded rate.
        guard let held = stateLogs.admit(now: loop.now) else { return }
        let bootstrap = configuration.bootstrapServers
        switch state {
        case .connecting: break
        case .up: logger.info("Kafka answers", metadata: ["bootstrap": bootstrap])
        case .refused(let reason):
            logger.warning(
                "Kafka answers, but not all is there or allowed",
                metadata: ["bootstrap": bootstrap, "reason": reason, "held_back": String(held)])
        case .down(let reason):
            logger.warning(
                "Kafka does not answer",
                metadata: ["bootstrap": bootstrap, "reason": reason, "held_back": String(held)])
        }
    }

    /// Counts an error, and logs it at a bounded rate.
    func report(_ error: KafkaError, _ what: String) {
        errorCount.increment()
        guard let held = errorLogs.admit(now: loop.now) else { return }
        logger.warning(
            "\(what)", metadata: ["error": error.description, "held_back": String(held)])
    }

    /// Log lines of librdkafka, and errors that concern the client as a whole.
    func handleLog(_ event: OpaquePointer) {
        var facility: UnsafePointer<CChar>?
        var text: UnsafePointer<CChar>?
        var level: Int32 = 0
        guard unsafe rd_kafka_event_log(event, &facility, &text, &level) == 0, let text = unsafe text else { return }
        let line = unsafe String(cString: text)
        // CONFWARN tells a producer of consumer properties: KAFKA_CONFIG is one setting for both.
        let name = unsafe facility.map { unsafe String(cString: $0) } ?? ""
        switch level {
        case ...3 where name != "FAIL": logger.warning("\(line)", metadata: ["facility": name])
        default: logger.debug("\(line)", metadata: ["facility": name])
        }
    }

    func handleError(_ error: KafkaError) {
        switch rd_kafka_resp_err_t(rawValue: error.code) {
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: isDown(error)
        case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__RESOLVE: report(error, "a broker connection failed")
        default: report(error, error.isFatal ? "the Kafka client failed for good" : "Kafka reported an error")
        }
    }

    /// The error that an event carries.
    static func error(of event: OpaquePointer) -> KafkaError {
        let text = unsafe rd_kafka_event_error_string(event).map { unsafe String(cString: $0) }
        return unsafe KafkaError(
            code: rd_kafka_event_error(event).rawValue, message: text,
            isFatal: rd_kafka_event_error_is_fatal(event) != 0)
    }
}

extension KafkaState {
    /// The cluster answers, whatever it says.
    fileprivate var isAnswering: Bool {
        switch self {
        case .up, .refused: true
        case .connecting, .down: false
        }
    }
}
