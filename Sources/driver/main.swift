import DriverService
import DriverSimulator
import GRPCRuntime
import Operations
import Settings

ServerProgram.run(
    .driver, check: { HealthCheck.exit($0, overGRPC: HealthService.ask) },
    start: { settings in
        let server = try DriverServer(settings: settings)
        try server.start()
        guard settings.simulatedDrivers > 0 else { return [server] }
        let drivers = try SimulatorServer(settings: settings, driverService: server.grpcAddress)
        try drivers.start()
        return [drivers, server]
    })
