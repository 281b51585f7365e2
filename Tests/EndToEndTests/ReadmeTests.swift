import Settings
import TestSupport
import Testing

/// The README says what is so.
@Suite struct ReadmeTests {
    static let text = TemporaryFolder.read(Tool.repository + "/README.md")

    @Test(
        .enabled(
            if: Tool.find("curl") != nil && Tool.find("jq") != nil && Tool.find("python3") != nil,
            "needs curl, jq and python3"))
    func theTourPrintsWhatTheReadmeSays() throws {
        let cabstand = try RunningCabstand()
        let result = try ChildProcess.run(
            "python3",
            [
                Tool.repository + "/Tests/EndToEndTests/tour.py", Tool.repository + "/README.md", String(cabstand.port),
                String(cabstand.driverPort), String(cabstand.tripPort), cabstand.kafka, Tool.unpacked,
            ], timeout: 180)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    @Test func theTableOfSettingsIsTheDeclarations() throws {
        let begin = try #require(Self.text.firstRange(of: "the declarations -->\n"))
        let end = try #require(Self.text.firstRange(of: "<!-- /settings -->"))
        let table = String(Self.text[begin.upperBound..<end.lowerBound])
        #expect(table == SettingsDeclaration.table)
    }

    @Test(arguments: ["cabstand", "gateway", "driver", "trip"])
    func everyOptionOfAProgramIsInTheTable(program: String) throws {
        let help = try ChildProcess.run(Tool.program(program), ["--help"])
        #expect(help.status == 0)
        let variables = help.output.matches(of: /CABSTAND_[A-Z0-9_]+/).map { $0.0 }
        #expect(variables.count > 10)
        for variable in variables { #expect(Self.text.contains("| `\(variable)` |"), "\(variable)") }
    }

    @Test func whatTheReadmePointsAtIsThere() {
        let paths = Self.text.matches(of: /\b(?:deploy|public|Sources|Tests)\/[A-Za-z0-9_\/.\-]*[A-Za-z0-9_]/).map {
            String($0.0)
        }
        #expect(paths.contains("deploy/run-local.sh") && paths.contains("deploy/docs/map.png"))
        for path in Set(paths) { #expect(Tool.exists(Tool.repository + "/" + path), "\(path)") }
    }
}
