import Glibc
import TestSupport
import Testing

/// What the browser tests drive the page with.
private enum Browser {
    static let python = Tool.python(importing: ["playwright.sync_api"])
    /// The Python that can be an OpenID provider.
    static let provider = Tool.python(importing: ["oidc_provider_mock"])
    static let canDrive = python != nil && Tool.find("chromium") != nil && Tool.find("curl") != nil
}

/// The map page in Debian's chromium, against the real programs. The scripts are in `browser/`.
@Suite(
    .serialized,
    .enabled(if: Browser.canDrive, "needs chromium, curl and Python's playwright (deploy/test.sh installs them)"))
struct BrowserTests {
    @Test func aCarIsChosenBookedAndFollowedToTheEndOfTheTrip() throws {
        try run("ride.py", access: "required")
    }

    @Test func aTakenCarIsReplacedByAnOfferAndATripCanBeCancelled() throws {
        try run("taken.py", access: "required")
    }

    @Test func aGuestSignsInWithoutBeingAskedAndOut() throws {
        let cabstand = try RunningCabstand(simulatedDrivers: 30, extra: ["CABSTAND_AUTH": "required"])
        try finish(try start("account.py", cabstand, drivers: 30), cabstand)
    }

    @Test(.enabled(if: Browser.provider != nil, "needs Python's oidc-provider-mock (deploy/test.sh installs it)"))
    func somebodySignsInAtAProviderAndOut() throws {
        let port = freePort()
        let issuer = "http://127.0.0.1:\(port)"
        let provider = try ChildProcess(
            try #require(Browser.provider),
            [
                "-m", "oidc_provider_mock", "--port", String(port), "--require-nonce", "--user-claims",
                "{\"sub\":\"ada\",\"name\":\"Ada Lovelace\"}",
            ])
        try provider.waitForOutput("Uvicorn running on", seconds: 60)
        let secret = TemporaryFolder()
        secret.write("secret", "s3cret\n")
        let cabstand = try RunningCabstand(
            simulatedDrivers: 30,
            extra: [
                "CABSTAND_AUTH": "required", "CABSTAND_SIGN_IN_ISSUER": issuer,
                "CABSTAND_SIGN_IN_CLIENT_ID": "cabstand-page",
                "CABSTAND_SIGN_IN_CLIENT_SECRET": secret.file("secret"),
                "CABSTAND_EXTERNAL_URL": RunningCabstand.ownURL,
            ])
        try finish(try start("signin.py", cabstand, drivers: 30), cabstand)
    }

    @Test func aTownWithMoreCarsThanAListHoldsIsShownByViews() throws {
        try run("crowd.py", access: "off")
    }

    @Test func thePageFitsEveryScreenAndShowsNamesAsText() throws {
        let pictures = Tool.repository + "/.build/screenshots"
        _ = unsafe mkdir(pictures, 0o755)
        try run("looks.py", access: "off", pictures)
    }

    @Test func aKilledGatewayTurnsTheBadgeAndComesBack() throws {
        let cabstand = try RunningCabstand(simulatedDrivers: 30, extra: ["CABSTAND_AUTH": "required"])
        let script = try start("outage.py", cabstand, drivers: 30)
        try script.waitForOutput("LIVE", seconds: 120)
        cabstand.kill()
        try script.waitForOutput("DOWN", seconds: 120)
        try cabstand.restart()
        try finish(script, cabstand)
    }

    /// - Parameter access: whether the page signs its user in as a guest; the script is an operator then, or nobody is asked.
    private func run(_ name: String, access: String, _ more: String...) throws {
        let cabstand = try RunningCabstand(simulatedDrivers: 60, extra: ["CABSTAND_AUTH": access])
        let token = access == "off" ? [:] : ["CABSTAND_TOKEN": cabstand.operatorToken]
        try finish(try start(name, cabstand, drivers: 60, more, token), cabstand)
    }

    private func start(
        _ name: String, _ cabstand: RunningCabstand, drivers: Int, _ more: [String] = [],
        _ environment: [String: String] = [:]
    ) throws -> ChildProcess {
        let script = Tool.repository + "/Tests/EndToEndTests/browser/" + name
        return try ChildProcess(
            try #require(Browser.python), [script, cabstand.url, String(drivers)] + more,
            environment: environment.merging(["PYTHONDONTWRITEBYTECODE": "1"]) { $1 })
    }

    private func finish(_ script: ChildProcess, _ cabstand: RunningCabstand) throws {
        let status = script.waitForExit(900)
        #expect(status == 0, "\(script.output)\(script.errors)\ncabstand wrote:\n\(cabstand.words.suffix(2000))")
    }
}

private let typeScript =
    Tool.find("tsc") ?? [Tool.unpacked + "/js/node_modules/typescript/bin/tsc"].first(where: Tool.exists)

/// The page's own code, without a browser.
@Suite struct PageCodeTests {
    @Test(.enabled(if: Tool.find("node") != nil, "needs node"))
    func theRoadGraphFindsTheNearestRoadAndTheQuickestWay() throws {
        let script = Tool.repository + "/Tests/EndToEndTests/browser/graph.mjs"
        let result = try ChildProcess.run("node", ["--test", script], timeout: 120)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    @Test(.enabled(if: typeScript != nil && Tool.find("node") != nil, "needs node and tsc: npm install -g typescript"))
    func theModulesAgreeWithTheirTypes() throws {
        let result = try ChildProcess.run(
            "/bin/sh",
            [
                "-c",
                """
                node "$0" --noEmit --allowJs --checkJs --strict --noUnusedLocals --target es2022 --module esnext \
                --moduleResolution bundler --lib es2023,dom,dom.iterable public/js/*.js
                """, try #require(typeScript),
            ], directory: Tool.repository, timeout: 120)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    @Test func theMapDataComesWithItsLicenceAndIsNamedOnThePage() {
        let page = TemporaryFolder.read(Tool.repository + "/public/index.html")
        #expect(page.contains(#"© <a href="https://www.openstreetmap.org/copyright""#))
        #expect(
            TemporaryFolder.read(Tool.repository + "/public/map/LICENSE-ODbL.txt").contains("Open Database License"))
    }

    @Test func thePageNeedsNothingFromElsewhereAndNothingInline() {
        let page = TemporaryFolder.read(Tool.repository + "/public/index.html")
        #expect(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="))
        for part in page.split(separator: "<script").dropFirst() {
            #expect(part.contains("src=\"js/") && part.contains("></script>"))
        }
    }
}
