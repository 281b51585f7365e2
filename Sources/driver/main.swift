import DriverService
import GRPCRuntime
import HTTPServer
import Settings

let settings = SettingsDeclaration.driver.readOrExit { HealthCheck.exit($0, overGRPC: HealthService.ask) }
ServerProgram.run(settings: settings) {
    let server = try DriverServer(settings: settings)
    server.start()
    return [server]
}
