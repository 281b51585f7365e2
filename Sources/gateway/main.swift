import GatewayService
import HTTPServer
import Settings

let settings = SettingsDeclaration.gateway.readOrExit()
ServerProgram.run(settings: settings) {
    let server = try GatewayServer(settings: settings)
    server.start()
    return [server]
}
