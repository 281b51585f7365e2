import GatewayService
import HTTPServer
import Settings

let settings = SettingsDeclaration.gateway.readOrExit { HealthCheck.exit($0) }
ServerProgram.run(settings: settings) {
    let server = try GatewayServer(settings: settings)
    server.start()
    return [server]
}
