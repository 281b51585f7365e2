import Operations
import Settings
import TestSupport
import Testing

/// The documents say what is so.
@Suite struct DocumentTests {
    static let readme = TemporaryFolder.read(Tool.repository + "/README.md")
    static let operations = TemporaryFolder.read(Tool.repository + "/deploy/README.md")

    @Test(
        .enabled(
            if: Tool.find("curl") != nil && Tool.find("jq") != nil && Tool.find("python3") != nil,
            "needs curl, jq and python3"))
    func theTourPrintsWhatTheReadmeSays() throws {
        let cabstand = try RunningCabstand(extra: ["CABSTAND_AUTH": "required"])
        let result = try ChildProcess.run(
            "python3",
            [
                Tool.repository + "/Tests/EndToEndTests/tour.py", Tool.repository + "/README.md", String(cabstand.port),
                String(cabstand.driverPort), String(cabstand.tripPort), cabstand.kafka, Tool.unpacked,
            ], environment: ["TOKEN": cabstand.operatorToken], timeout: 180)
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    @Test func theTableOfSettingsIsTheDeclarations() throws {
        let begin = try #require(Self.operations.firstRange(of: "the declarations -->\n"))
        let end = try #require(Self.operations.firstRange(of: "<!-- /settings -->"))
        let table = String(Self.operations[begin.upperBound..<end.lowerBound])
        #expect(table == CabstandSettings.table)
    }

    @Test(arguments: ["cabstand", "gateway", "driver", "trip"])
    func everyOptionOfAProgramIsInTheTable(program: String) throws {
        let help = try ChildProcess.run(Tool.program(program), ["--help"])
        #expect(help.status == 0)
        let variables = help.output.matches(of: /CABSTAND_[A-Z0-9_]+/).map { $0.0 }
        #expect(variables.count > 10)
        for variable in variables { #expect(Self.operations.contains("| `\(variable)` |"), "\(variable)") }
    }

    // MARK: Links

    /// Every document, from the repository's top folder.
    static let documents = [
        "README.md", "Sources/README.md", "Tests/README.md", "deploy/README.md", ".github/CHANGELOG.md",
        ".github/CONTRIBUTING.md", ".github/SECURITY.md",
    ]

    @Test(arguments: documents) func whatADocumentNamesIsThere(document: String) {
        let text = TemporaryFolder.read(Tool.repository + "/" + document)
        #expect(text.utf8.count > 1000)
        // Links, from the document's own folder, with the heading that they lead to.
        let folder = document.split(separator: "/").dropLast().joined(separator: "/")
        for match in text.matches(of: /\]\(([^)\s#]*)(?:#([^)\s]*))?\)/) where !match.1.contains("://") {
            let target = match.1.isEmpty ? document : (folder.isEmpty ? "" : folder + "/") + match.1
            #expect(Tool.exists(Tool.repository + "/" + target), "\(document) links to \(target)")
            guard let heading = match.2, target.hasSuffix(".md") else { continue }
            let headings = Self.headings(TemporaryFolder.read(Tool.repository + "/" + target))
            #expect(headings.contains(String(heading)), "\(target) has no heading #\(heading)")
        }
        // Paths in the text, from the top folder.
        for match in text.matches(of: /(?:^|[^\/.\w])((?:deploy|public|Sources|Tests)\/[A-Za-z0-9_\/.\-]*[A-Za-z0-9_])/)
        {
            #expect(Tool.exists(Tool.repository + "/" + match.1), "\(document) names \(match.1)")
        }
        // Files of tests, from their own folder.
        for match in text.matches(of: /`([A-Za-z0-9]+Tests\/[A-Za-z0-9_\/]+\.[a-z]+)/) {
            #expect(Tool.exists(Tool.repository + "/Tests/" + match.1), "\(document) names \(match.1)")
        }
        if document == "README.md" {
            for path in ["deploy/run-local.sh", "deploy/test.sh", "deploy/docs/map.png"] {
                #expect(text.contains(path))
            }
        }
    }

    /// Each number of a behaviour that a test names or a comment cites has its row.
    @Test func everyBehaviourThatATestCitesIsDescribed() throws {
        let text = TemporaryFolder.read(Tool.repository + "/Tests/README.md")
        let rows = Set(text.matches(of: /(?m)^\| (\d+[a-z]?) \|/).map { String($0.1) })
        #expect(rows.isSuperset(of: (1...55).map(String.init)))
        let found = try ChildProcess.run(
            "grep", ["-rhoiE", "(behaviou?r|kafka|domain) ?[0-9]+[a-z]?([_ ,–-])", "Tests", "--include=*.swift"],
            directory: Tool.repository)
        let cited = found.output.matches(of: /(?i)(?:behaviou?r|kafka|domain) ?(\d+(?:[a-z](?![a-z]))?)/).map {
            String($0.1)
        }
        #expect(cited.count > 50)
        for number in Set(cited) { #expect(rows.contains(number), "no behaviour \(number) in Tests/README.md") }
    }

    /// The anchors of a Markdown file's headings, as forges make them.
    private static func headings(_ text: String) -> Set<String> {
        Set(
            text.matches(of: /(?m)^#+ (.+)$/).map { match in
                String(
                    match.1.lowercased().replacing(" ", with: "-").filter {
                        $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_"
                    })
            })
    }

    /// The API's pages, as the gateway serves them: what they link to is there, with its heading, and nothing comes from
    /// elsewhere.
    @Test func thePagesOfTheAPIAreServedAndStandAlone() throws {
        let cabstand = try RunningCabstand()
        let connection = HTTPConnection(port: cabstand.port)
        #expect(connection.request("GET", "/docs")?.status == 308)
        #expect(connection.request("GET", "/")?.body.contains("href=\"docs/\"") == true)
        var pages: [String: String] = [:]
        var waiting = ["/docs/"]
        while let path = waiting.popLast() {
            guard pages[path] == nil else { continue }
            let answer = try #require(connection.request("GET", path), "no answer for \(path)")
            #expect(answer.status == 200, "\(path)")
            pages[path] = answer.body
            guard path.hasPrefix("/docs/"), path.hasSuffix("/") || path.hasSuffix(".html") else { continue }
            #expect(answer.body.contains("<html lang=\"en\">") && answer.body.contains("<main id=\"main\">"))
            for link in Self.links(answer.body) where !link.target.isEmpty { waiting.append(Self.path(link.target)) }
        }
        #expect(pages.count > 8)
        for (path, text) in pages where path.hasPrefix("/docs/") && text.contains("<main") {
            for link in Self.links(text) {
                let target = link.target.isEmpty ? path : Self.path(link.target)
                guard let anchor = link.anchor else { continue }
                #expect(pages[target]?.contains("id=\"\(anchor)\"") == true, "\(path) links to \(target)#\(anchor)")
            }
        }
    }

    /// What a page links to or loads.
    private static func links(_ page: String) -> [(target: String, anchor: String?)] {
        page.matches(of: /(?:href|src)="([^"#]*)(?:#([^"]*))?"/).map { (String($0.1), $0.2.map(String.init)) }
    }

    /// The path that a relative link of a page in /docs/ leads to. One that leads elsewhere fails when it is asked for.
    private static func path(_ link: String) -> String {
        if link == "./" { return "/docs/" }
        return link.hasPrefix("../") ? "/" + link.dropFirst(3) : "/docs/" + link
    }

    /// Whoever has the repository has every document that it cites.
    @Test(arguments: ["Sources", "Tests", "public/js", "deploy"]) func noCommentCitesWhatIsNotHere(folder: String)
        throws
    {
        let found = try ChildProcess.run(
            "grep",
            [
                "-rnE", "CONTRACT|DESIGN\\.md|BEHAVIOUR\\.md|STYLE\\.md|[Tt]he brief", "--include=*.swift",
                "--include=*.js",
                "--include=*.proto", "--include=*.sh", "--include=*.py", "--include=*.md",
                "--exclude=DocumentTests.swift", folder,
            ], directory: Tool.repository)
        #expect(found.output == "")
    }
}
