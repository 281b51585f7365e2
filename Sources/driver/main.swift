import DriverService
import GRPCRuntime
import Operations
import Settings

ServerProgram.run(
    .driver, check: { HealthCheck.exit($0, overGRPC: HealthService.ask) },
    start: { settings in
        let server = try DriverServer(settings: settings)
        try server.start()
        return [server]
    })
