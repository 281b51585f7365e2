import DriverSimulator
import Operations
import Settings

ServerProgram.run(
    .simulator, check: { HealthCheck.exit($0) },
    start: { settings in
        let server = try SimulatorServer(settings: settings)
        try server.start()
        return [server]
    })
