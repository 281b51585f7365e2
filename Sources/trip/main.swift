import HTTPServer
import Settings
import TripService

let settings = SettingsDeclaration.trip.readOrExit()
ServerProgram.run(settings: settings) {
    let server = try TripServer(settings: settings)
    server.start()
    return [server]
}
