import DriverService
import HTTPServer
import Settings

let settings = SettingsDeclaration.driver.readOrExit()
ServerProgram.run(settings: settings) {
    let server = try DriverServer(settings: settings)
    server.start()
    return [server]
}
