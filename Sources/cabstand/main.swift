import HTTPServer
import Settings
import Telemetry

ServerProgram.run(
    .cabstand, check: { HealthCheck.exit($0) },
    start: { settings in
        let house = try AllInOne(settings: settings)
        try house.start()
        for line in house.greeting {
            // Who collects lines of JSON reads standard output, too. Whoever does not read it holds nothing up.
            if settings[CabstandSettings.logFormat] == "json" {
                Logger(label: "cabstand").notice(line)
            } else {
                LogSink.output.write(line: "cabstand: \(line)")
            }
        }
        return house.servers
    })
