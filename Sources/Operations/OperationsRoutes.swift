import Bytes
import HTTPServer
import JSONWire
import Reactor
import Telemetry

/// What a cluster asks of every process: is it alive, does it take requests, what are its figures.
extension Router {
    /// Adds `/healthz` and `/readyz`.
    public func addHealth(_ readiness: ServiceReadiness, loop: EventLoop) {
        get("/healthz") { _, responder in
            // The answer itself shows that the loop turns.
            responder.respond(200, "application/json", body: "{\"status\":\"ok\"}\n")
        }
        // Probes ask each second: that they are told of something that is away must not hold back the lines about what has failed.
        reports("/readyz")
        get("/readyz") { _, responder in
            let report = readiness.report(now: loop.now)
            responder.respond(report.isReady ? 200 : 503, "application/json") { output in
                report.write(to: &output)
            }
        }
    }

    /// Adds `/metrics` in Prometheus's text format.
    public func addMetrics(_ registry: MetricRegistry = .shared) {
        get("/metrics") { _, responder in
            responder.respond(200, "text/plain; version=0.0.4; charset=utf-8") { output in
                registry.render(into: &output)
            }
        }
    }
}

extension ServiceReadiness.Report {
    /// `{"status":"degraded","checks":{"kafka":"1/1 brokers are down",…}}`
    func write(to output: inout ByteBuffer) {
        output.beginJSONObject()
        output.appendJSON("status", string: status.description)
        output.appendJSON(name: "checks")
        output.beginJSONObject()
        for (name, check) in checks {
            output.appendJSON(dynamicName: name)
            switch check {
            case .unknown: output.appendJSON(string: "unknown")
            case .ok: output.appendJSON(string: "ok")
            case .failing(let reason): output.appendJSON(string: reason)
            }
        }
        output.endJSONObject()
        output.endJSONObject()
        output.append("\n")
    }
}
