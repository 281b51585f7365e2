import Reactor

extension MetricRegistry {
    /// Shows what the loop holds for the connections of a handler; asked at a scrape, so that it costs the loop nothing.
    /// The handlers of all loops that speak one protocol are summed.
    ///
    /// - Parameter name: of the protocol, such as `http`.
    public func addConnections(_ account: ConnectionAccount, protocol name: String) {
        let labels: MetricLabels = ["protocol": name]
        sampledGauge(
            name: .own("connection_input_bytes"),
            help: "Memory of input that is not whole or whose turn has not come, by protocol.", labels: labels
        ) { Double(account.input) }
        sampledGauge(
            name: .own("connection_output_bytes"), help: "Memory of output that peers have not taken, by protocol.",
            labels: labels
        ) { Double(account.output) }
    }
}
