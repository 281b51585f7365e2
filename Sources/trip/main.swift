import GRPCRuntime
import Operations
import Settings
import TripService

ServerProgram.run(
    .trip, check: { HealthCheck.exit($0, overGRPC: HealthService.ask) },
    start: { settings in
        let server = try TripServer(settings: settings)
        try server.start()
        return [server]
    })
