import Access
import GatewayService
import Operations
import Settings

KeysCommand.runIfAsked()
TokenCommand.runIfAsked(.gateway) { $0.authKey }
ServerProgram.run(
    .gateway, check: { HealthCheck.exit($0) },
    start: { settings in
        let server = try GatewayServer(settings: settings)
        try server.start()
        return [server]
    })
