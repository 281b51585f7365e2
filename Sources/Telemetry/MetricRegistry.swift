import Bytes
import Synchronization

/// Names and values that tell the series of a metric apart.
public typealias MetricLabels = KeyValuePairs<String, String>

/// What a metric is called. A literal is shown as it is; a name that is the house's own (`.own("kafka_up")`) with the registry's
/// namespace and an underscore in front.
public struct MetricName: Hashable, Sendable, ExpressibleByStringLiteral {
    /// The name without the namespace.
    let text: String
    /// Whether the registry's namespace comes in front.
    let isOwn: Bool

    /// A name that is shown as it is.
    public init(stringLiteral text: String) { self.init(text, isOwn: false) }

    private init(_ text: String, isOwn: Bool) {
        self.text = text
        self.isOwn = isOwn
    }

    /// A name behind the registry's namespace: that of everything which no convention names for all programs.
    public static func own(_ text: String) -> MetricName { MetricName(text, isOwn: true) }
}

/// Knows every metric of the process and writes them as Prometheus text (exposition format 0.0.4).
///
/// Making a metric takes a lock and is for start-up; using one takes none. Asking twice for the same name and labels
/// gives two objects whose values are summed: each loop asks for its own. Thread-safe.
public final class MetricRegistry: Sendable {
    /// The registry of the process.
    public static let shared = MetricRegistry()

    private enum Instance: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case sampled(@Sendable () -> Double)
        case sampledHistogram([Double], @Sendable () -> (buckets: [UInt64], sum: Double))
    }

    private enum Kind: String {
        case counter, gauge, histogram
    }

    private struct Family {
        let kind: Kind
        let help: String
        /// Label text → objects, in order of making.
        var order: [String] = []
        var series: [String: [Instance]] = [:]

        /// In place: a copy for each would be work that grows with the square of their number.
        mutating func add(_ instance: Instance, _ kind: Kind, _ name: MetricName, _ labels: String) {
            precondition(self.kind == kind, "\(name.text) is a \(self.kind) already")
            if series[labels] == nil { order.append(labels) }
            series[labels, default: []].append(instance)
        }
    }

    private struct State {
        var namespace: String
        var order: [MetricName] = []
        var families: [MetricName: Family] = [:]

        func shown(_ name: MetricName) -> String {
            name.isOwn && !namespace.isEmpty ? "\(namespace)_\(name.text)" : name.text
        }
    }

    private let state: Mutex<State>

    /// - Parameter namespace: what stands in front of names that are the house's own, as in `shop_kafka_up`.
    public init(namespace: String = "") { state = Mutex(State(namespace: namespace)) }

    /// Changes the namespace, for the metrics that are there too: a program gives the shared registry its own at start.
    public func use(namespace: String) { state.withLock { $0.namespace = namespace } }

    /// A counter; `name` ends in `_total`.
    public func counter(name: MetricName, help: String, labels: MetricLabels = [:]) -> Counter {
        let counter = Counter()
        add(.counter(counter), .counter, name, help, labels)
        return counter
    }

    /// A gauge; `name` ends in its unit, such as `_bytes`, where it has one.
    public func gauge(name: MetricName, help: String, labels: MetricLabels = [:]) -> Gauge {
        let gauge = Gauge()
        add(.gauge(gauge), .gauge, name, help, labels)
        return gauge
    }

    /// A gauge that is asked at each scrape, on the thread that scrapes.
    public func sampledGauge(
        name: MetricName, help: String, labels: MetricLabels = [:], _ sample: @escaping @Sendable () -> Double
    ) {
        add(.sampled(sample), .gauge, name, help, labels)
    }

    /// A counter that is asked at each scrape, on the thread that scrapes; `name` ends in `_total`.
    public func sampledCounter(
        name: MetricName, help: String, labels: MetricLabels = [:], _ sample: @escaping @Sendable () -> Double
    ) {
        add(.sampled(sample), .counter, name, help, labels)
    }

    /// A histogram; `name` carries the unit of `bounds`.
    public func histogram(
        name: MetricName, help: String, labels: MetricLabels = [:], bounds: [Double] = Histogram.seconds
    ) -> Histogram {
        let histogram = Histogram(bounds: bounds)
        add(.histogram(histogram), .histogram, name, help, labels)
        return histogram
    }

    /// A histogram that is asked at each scrape, on the thread that scrapes, for the observations per bucket (one more than
    /// there are bounds) and their sum.
    public func sampledHistogram(
        name: MetricName, help: String, labels: MetricLabels = [:], bounds: [Double],
        _ sample: @escaping @Sendable () -> (buckets: [UInt64], sum: Double)
    ) {
        add(.sampledHistogram(bounds, sample), .histogram, name, help, labels)
    }

    private func add(_ instance: Instance, _ kind: Kind, _ name: MetricName, _ help: String, _ labels: MetricLabels) {
        let text = labels.map { "\($0)=\"\(Self.escaped($1))\"" }.joined(separator: ",")
        state.withLock { state in
            if state.families[name] == nil { state.order.append(name) }
            state.families[name, default: Family(kind: kind, help: help)].add(instance, kind, name, text)
        }
    }

    /// Forgets every metric, and returns the gauges that are not 0: for a fuzzer, which makes a server for each input and
    /// wants to see nothing left of it. Metrics that were made before must not be used any more.
    package func forgetAll() -> [String: Double] {
        let forgotten = state.withLock { state in
            defer { state = State(namespace: state.namespace) }
            return state
        }
        var gauges: [String: Double] = [:]
        for (name, family) in forgotten.families where family.kind == .gauge {
            for (labels, instances) in family.series {
                let sum = instances.reduce(0.0) { $0 + Self.value($1) }
                if sum != 0 { gauges["\(name.text){\(labels)}"] = sum }
            }
        }
        return gauges
    }

    /// Appends every metric in Prometheus text.
    public func render(into output: inout ByteBuffer) {
        let state = state.withLock { $0 }
        for name in state.order {
            guard let family = state.families[name] else { continue }
            let name = state.shown(name)
            output.append(utf8: "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.kind.rawValue)\n")
            for labels in family.order {
                let instances = family.series[labels] ?? []
                if family.kind == .histogram {
                    Self.renderHistogram(name, labels, instances, into: &output)
                } else {
                    let sum = instances.reduce(0.0) { $0 + Self.value($1) }
                    Self.renderLine(name, labels, sum, into: &output)
                }
            }
        }
    }

    private static func value(_ instance: Instance) -> Double {
        switch instance {
        case .counter(let counter): Double(counter.value)
        case .gauge(let gauge): gauge.value
        case .sampled(let sample): sample()
        case .histogram, .sampledHistogram: 0
        }
    }

    private static func renderHistogram(
        _ name: String, _ labels: String, _ instances: [Instance], into output: inout ByteBuffer
    ) {
        var bounds: [Double] = []
        var counts: [UInt64] = []
        var sum = 0.0
        for instance in instances {
            let snapshot: (buckets: [UInt64], sum: Double)
            let own: [Double]
            switch instance {
            case .histogram(let histogram): (own, snapshot) = (histogram.bounds, histogram.snapshot())
            case .sampledHistogram(let given, let sample): (own, snapshot) = (given, sample())
            case .counter, .gauge, .sampled: continue
            }
            if counts.isEmpty {
                bounds = own
                counts = snapshot.buckets
            } else {
                precondition(own == bounds, "\(name) has the same bounds everywhere")
                for index in counts.indices { counts[index] += snapshot.buckets[index] }
            }
            sum += snapshot.sum
        }
        let prefix = labels.isEmpty ? "" : labels + ","
        var total: UInt64 = 0
        for (index, count) in counts.enumerated() {
            total += count
            let bound = index < bounds.count ? text(bounds[index]) : "+Inf"
            renderLine(name + "_bucket", "\(prefix)le=\"\(bound)\"", Double(total), into: &output)
        }
        renderLine(name + "_sum", labels, sum, into: &output)
        renderLine(name + "_count", labels, Double(total), into: &output)
    }

    private static func renderLine(_ name: String, _ labels: String, _ value: Double, into output: inout ByteBuffer) {
        output.append(utf8: name)
        if !labels.isEmpty { output.append(utf8: "{\(labels)}") }
        output.append(utf8: " \(text(value))\n")
    }

    private static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if let whole = Int64(exactly: value) { return String(whole) }
        return String(value)
    }

    private static func escaped(_ value: String) -> String {
        var result = ""
        for character in value.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
