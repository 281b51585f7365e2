import Glibc
import HTTPServer
import Settings

let settings = SettingsDeclaration.cabstand.readOrExit { HealthCheck.exit($0) }
ServerProgram.run(settings: settings) {
    let house = try AllInOne(settings: settings)
    house.start()
    print(house.greeting)
    // Into a file or a pipe it would wait for more.
    fflush(nil)
    return house.servers
}
