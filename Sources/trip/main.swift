import GRPCRuntime
import HTTPServer
import Settings
import TripService

let settings = SettingsDeclaration.trip.readOrExit { HealthCheck.exit($0, overGRPC: HealthService.ask) }
ServerProgram.run(settings: settings) {
    let server = try TripServer(settings: settings)
    server.start()
    return [server]
}
