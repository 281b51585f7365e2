import CRdKafka
import Reactor
import Telemetry

/// Whether the cluster answers.
public enum KafkaState: Sendable, Hashable {
    /// No answer yet.
    case connecting
    case up
    /// With the reason, as librdkafka words it.
    case down(String)
}

/// What a producer and a consumer have in common: the client, its blocking thread, its state, logs and errors.
final class ClientCore {
    let loop: EventLoop
    let configuration: KafkaConfiguration
    let worker: BlockingThread
    let logger: Logger
    private let errorCount: Counter
    private let upGauge: Gauge
    private var errorLogs = LogRateLimit()

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
            name: "cabstand_kafka_errors_total", help: "Errors that librdkafka reported.", labels: ["client": role])
        upGauge = MetricRegistry.shared.gauge(
            name: "cabstand_kafka_up", help: "1 while the cluster answers.", labels: ["client": role])
    }

    func isUp() { become(.up) }

    func isDown(_ error: KafkaError) { become(.down(error.description)) }

    private func become(_ next: KafkaState) {
        // A new reason for the same outage is no news.
        if case .down = state, case .down = next { return }
        if state == next { return }
        state = next
        switch next {
        case .connecting: break
        case .up:
            upGauge.set(1)
            logger.info("Kafka answers", metadata: ["bootstrap": configuration.bootstrapServers])
        case .down(let reason):
            upGauge.set(0)
            logger.warning(
                "Kafka does not answer", metadata: ["bootstrap": configuration.bootstrapServers, "reason": reason])
        }
        onState(next)
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
