import Access
import GatewayService
import Operations
import Settings
import Telemetry

KeysCommand.runIfAsked()
TokenCommand.runIfAsked(.cabstand, keys: AllInOne.keys)
ServerProgram.run(
    .cabstand, check: { HealthCheck.exit($0) },
    start: { settings in
        let all = try AllInOne(settings: settings)
        try all.start()
        for line in all.greeting {
            // Whoever collects lines of JSON reads standard output too. A reader that stalls holds nothing up.
            if settings.logFormat == "json" {
                Logger(label: "cabstand").notice(line)
            } else {
                LogSink.output.write(line: "cabstand: \(line)")
            }
        }
        return all.servers
    })
