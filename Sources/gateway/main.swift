import GatewayService
import Operations
import Settings

ServerProgram.run(
    .gateway, check: { HealthCheck.exit($0) },
    start: { settings in
        let server = try GatewayServer(settings: settings)
        try server.start()
        return [server]
    })
