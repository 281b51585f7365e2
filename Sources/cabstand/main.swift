import Glibc
import HTTPServer
import Settings
import Telemetry

let settings = SettingsDeclaration.cabstand.readOrExit { HealthCheck.exit($0) }
ServerProgram.run(settings: settings) {
    let house = try AllInOne(settings: settings)
    house.start()
    for line in house.greeting {
        // Who collects lines of JSON reads standard output, too.
        if settings[CabstandSettings.logFormat] == "json" {
            Logger(label: "cabstand").notice(line)
        } else {
            print("cabstand: \(line)")
        }
    }
    // Into a file or a pipe it would wait for more.
    fflush(nil)
    return house.servers
}
