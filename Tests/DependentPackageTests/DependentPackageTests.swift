import KafkaClient
import TestSupport
import Testing

/// The package of examples, which depends on this one's library products and nothing else of it, with code that
/// protoc-gen-cabstand writes now. It is built in `.build`, so that only the first run compiles everything.
enum DependentPackage {
    static let path = Tool.repository + "/.build/dependent"
    private static let material = Tool.repository + "/Tests/Examples"

    /// What `swift build` said; built once for all tests.
    static let build: Result<String, any Error> = Result {
        try run("rm", ["-rf", path + "/Sources", path + "/protos", path + "/Package.swift"])
        try run("mkdir", ["-p", path])
        try run("cp", ["-r", material + "/.", path])
        for (example, file) in [("zoo", "foreign/zoo/v1/zoo.proto"), ("greeter", "greeter/v1/greeter.proto")] {
            let generated = path + "/Sources/\(example)/Generated"
            try run("mkdir", ["-p", generated])
            try run(
                "protoc",
                [
                    "-I\(path)/protos", "-I\(Tool.repository)/Sources/ProtobufWire/protos",
                    "--plugin=protoc-gen-cabstand=\(Tool.program("protoc-gen-cabstand"))",
                    "--cabstand_out=\(generated)", file,
                ])
        }
        return try run(
            "swift",
            [
                "build", "--package-path", path, "--scratch-path", path + "/.build",
                "--explicit-target-dependency-import-check", "error",
            ], timeout: 900)
    }

    static func program(_ name: String) throws -> String {
        _ = try build.get()
        return path + "/.build/debug/" + name
    }

    /// A folder with what grpcio-tools makes of the same `.proto` file.
    static func pythonStubs() throws -> TemporaryFolder {
        let folder = TemporaryFolder()
        try run(
            try #require(python),
            [
                "-m", "grpc_tools.protoc", "-I\(material)/protos", "--python_out=\(folder.path)",
                "--grpc_python_out=\(folder.path)", "foreign/zoo/v1/zoo.proto",
            ])
        return folder
    }

    static let python = Tool.python(importing: ["grpc_tools.protoc", "grpc", "grpc_reflection"])
    static let zooScript = Tool.repository + "/Tests/DependentPackageTests/zoo.py"

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    @discardableResult
    static func run(_ program: String, _ arguments: [String], timeout: Double = 120) throws -> String {
        // The package is built as by someone else: without the switches of this repository's own builds.
        let environment = [
            "CABSTAND_ROOMS": "", "CABSTAND_WARNINGS_AS_ERRORS": "", "CABSTAND_PATH": Tool.repository,
        ]
        let result = try ChildProcess.run(program, arguments, environment: environment, timeout: timeout)
        guard result.status == 0 else {
            throw Failure(description: "\(program) \(arguments): \(result.output)\(result.errors)")
        }
        return result.output + result.errors
    }

    /// The numbers behind "ready" in a program's first line.
    static func ports(of child: ChildProcess) throws -> [String] {
        try child.waitForOutput("ready")
        try #require(waitUntil(10) { child.output.contains("\n") })
        return child.output.split(separator: "\n")[0].split(separator: " ").dropFirst().map(String.init)
    }
}

@Suite(
    "A package that depends on this one", .serialized,
    .enabled(if: Tool.find("swift") != nil && Tool.find("protoc") != nil, "needs swift and protoc"))
struct DependentPackageTests {
    @Test func itBuildsWithoutAWarning() throws {
        let output = try DependentPackage.build.get()
        #expect(!output.contains("warning:"), "\(output)")
    }

    /// What an article shows is an example, whole, which is built and run here.
    @Test(arguments: [
        ("HTTPServer", "hello"), ("HTTPServer", "notes"), ("HTTPServer", "export"), ("WebSocketServer", "chat"),
        ("GRPCRuntime", "greeter"), ("KafkaClient", "tail"), ("HTTPClient", "fetch"),
    ])
    func articlesShowTheExamples(library: String, example: String) {
        let source = TemporaryFolder.read(Tool.repository + "/Tests/Examples/Sources/\(example)/main.swift")
        let article = TemporaryFolder.read(Tool.repository + "/Sources/\(library)/\(library).docc/\(library).md")
        #expect(source.count > 200 && article.contains("```swift\n\(source)```"))
    }

    /// The examples are written for users: nothing in them is unsafe, which their build checks, too.
    @Test func noExampleIsUnsafe() throws {
        let found = try ChildProcess.run(
            "grep", ["-rnwE", "unsafe|unchecked|preconcurrency", "Tests/Examples", "--include=*.swift"],
            directory: Tool.repository)
        #expect(found.output.split(separator: "\n").filter { !$0.contains("no unsafe code") } == [])
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func helloIsTheProgramOfTheReadmeAndEndsInOrder() throws {
        let source = TemporaryFolder.read(Tool.repository + "/Tests/Examples/Sources/hello/main.swift")
        #expect(source.count > 200)
        #expect(TemporaryFolder.read(Tool.repository + "/README.md").contains("```swift\n\(source)```"))
        let (child, address) = try Self.start("hello", "http")
        #expect(try DependentPackage.run("curl", ["-s", address]) == "Hello, Ada!\n")
        #expect(child.terminate() == 0)
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func fetchGetsWhatOthersServe() throws {
        let (child, address) = try Self.start("hello", "http")
        let output = try DependentPackage.run(
            try DependentPackage.program("fetch"), [address, "ftp://example.org/", "http://127.0.0.1:1/"])
        #expect(
            output.hasPrefix("200 \(address): 12 bytes\nftp://example.org/: the URL can't be used: the scheme is ftp"))
        #expect(output.contains("127.0.0.1:1 can't be reached"))
        #expect(child.terminate() == 0)
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func notesHaveAGateALimitAndAHandlerThatWaits() throws {
        let (child, address) = try Self.start("notes", "http")
        func ask(_ who: String, _ path: String, _ more: [String] = []) throws -> String {
            try DependentPackage.run(
                "curl", ["-s", "-w", " %{http_code}", "-H", "authorization: Bearer \(who)", address + path] + more)
        }
        #expect(try DependentPackage.run("curl", ["-s", "-i", address + "/1"]).hasPrefix("HTTP/1.1 401"))
        #expect(try ask("ada", "", ["-d", #"{"text":"milk"}"#]) == #"{"number":1} 201"#)
        #expect(try ask("ada", "", ["-d", #"{"txt":"milk"}"#]).hasSuffix(" 422"))
        #expect(try ask("ada", "/1") == #"{"text":"milk"} 200"#)
        #expect(try ask("eve", "/1").hasSuffix(" 404"))
        // Far more than the limit lets in while they are asked.
        let many = try DependentPackage.run(
            "curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}\n", address + "/[1-2000]"])
        #expect(Set(many.split(separator: "\n")) == ["401", "429"])
        #expect(child.terminate() == 0)
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func exportEncodesValuesAndWritesABodyPieceByPiece() throws {
        let (child, address) = try Self.start("export", "http")
        func ask(_ path: String, _ more: [String] = []) throws -> String {
            try DependentPackage.run("curl", ["-s", "-w", " %{http_code}", address + path] + more)
        }
        #expect(try ask("/7") == #"{"number":7,"degrees":0.7} 200"#)
        #expect(try ask("/1000") == #"{"number":1000} 200"#)
        #expect(try ask("/0").hasSuffix(" 404"))
        for version in ["--http1.1", "--http1.0"] {
            let table = try ask(".csv", [version])
            #expect(table.hasPrefix("number,degrees\n1,0.1\n") && table.hasSuffix("\n100000,\n 200"))
            #expect(table.utf8.count { $0 == UInt8(ascii: "\n") } == 100_001)
        }
        #expect(child.terminate() == 0)
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func chatTellsEverybody() throws {
        let (child, address) = try Self.start("chat", "ws")
        let plain = "http" + address.dropFirst(2)
        #expect(try DependentPackage.run("curl", ["-s", "-i", plain]).hasPrefix("HTTP/1.1 426"))
        func join(_ name: String) throws -> ChildProcess {
            try ChildProcess(
                "curl",
                [
                    "-sN", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13",
                    "-H", "Sec-WebSocket-Key: SGVsbG8sIHdvcmxkISEhIQ==", "--http1.1", "--output", "-",
                    plain.replacing("ada", with: name),
                ])
        }
        let ada = try join("ada")
        try ada.waitForOutput("ada is here")
        let bob = try join("bob")
        try ada.waitForOutput("bob is here")
        bob.kill()
        try ada.waitForOutput("bob has left")
        #expect(child.terminate() == 0)
    }

    @Test(.enabled(if: Self.hasTools, "needs curl and stdbuf"))
    func greeterGreets() throws {
        let (server, address) = try Self.start("greeter", "port ", ["serve", "0"])
        let program = try DependentPackage.program("greeter")
        let port = String(address.dropFirst(5))
        #expect(try DependentPackage.run(program, ["greet", port, "Ada"]) == "Hello, Ada, from Grace!\n")
        #expect(try DependentPackage.run(program, ["greet", port, ""]).contains("name is empty"))
        #expect(
            try DependentPackage.run(program, ["meet", port, "Ada", "Alan"])
                == "Nice to meet you, Ada.\nNice to meet you, Alan.\n")
        if let python = Tool.python(importing: ["grpc_health"]) {
            let script = """
                import grpc, sys
                from grpc_health.v1 import health_pb2, health_pb2_grpc
                channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])
                stub = health_pb2_grpc.HealthStub(channel)
                print(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)
                try:
                    channel.unary_unary("/greeter.v1.Greeter/Greet")(b"", timeout=10)
                except grpc.RpcError as error:
                    print(error.code().name)
                """
            #expect(try DependentPackage.run(python, ["-c", script, port]) == "1\nUNAUTHENTICATED\n")
        }
        #expect(server.terminate() == 0)
    }

    @Test func tailPrintsWhatIsWritten() throws {
        let broker = try EmbeddedBroker(topics: [.init(name: "orders", partitions: 1, replicationFactor: 1)])
        defer { broker.stop() }
        let child = try ChildProcess(try DependentPackage.program("tail"), [broker.bootstrapServers, "orders"])
        try child.waitForOutput("at the end of orders")
        let loop = try EventLoop()
        let producer = try KafkaProducer(
            loop: loop, configuration: KafkaConfiguration(bootstrapServers: broker.bootstrapServers))
        producer.onDelivery = { _, _ in producer.close(timeout: .seconds(1)) { _ in loop.stop() } }
        loop.schedule(after: .seconds(30)) { loop.stop() }
        #expect(producer.produce(topic: "orders", key: "7", value: Array("two coffees".utf8)))
        loop.run()
        try child.waitForOutput("0/0 7: two coffees")
        #expect(child.terminate() == 0)
    }

    static var hasTools: Bool { Tool.find("curl") != nil && Tool.find("stdbuf") != nil }

    /// Starts an example on a free port: it prints an address, which begins with `scheme`. (What it prints would stay in its
    /// buffer otherwise: it does not end.)
    static func start(
        _ example: String, _ scheme: String, _ arguments: [String] = ["0"]
    ) throws -> (ChildProcess, address: String) {
        let child = try ChildProcess("stdbuf", ["-oL", try DependentPackage.program(example)] + arguments)
        try child.waitForOutput("\n")
        let address = String(child.output.prefix { $0 != "\n" })
        try #require(address.hasPrefix(scheme))
        return (child, address)
    }

    @Test(.enabled(if: DependentPackage.python != nil, "needs Python's grpcio-tools and grpcio-reflection"))
    func grpcioCallsAGeneratedService() throws {
        let stubs = try DependentPackage.pythonStubs()
        let child = try ChildProcess(try DependentPackage.program("zoo"), ["serve"])
        let ports = try DependentPackage.ports(of: child)
        let python = try #require(DependentPackage.python)
        let said = try DependentPackage.run(python, [DependentPackage.zooScript, stubs.path, "call", ports[0]])
        #expect(
            said == """
                mirror 300
                weigh 50.0 100 a99
                breed True
                lose NOT_FOUND Rex is gone: 100 % é True
                reflection ['foreign.zoo.v1.Zoo', 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection', \
                'grpc.reflection.v1alpha.ServerReflection'] foreign/zoo/v1/zoo.proto ['Mirror', 'Weigh', 'Breed', 'Lose']

                """)
    }

    @Test(.enabled(if: DependentPackage.python != nil, "needs Python's grpcio-tools and grpcio-reflection"))
    func aGeneratedClientCallsGrpcio() throws {
        let stubs = try DependentPackage.pythonStubs()
        let python = try #require(DependentPackage.python)
        let child = try ChildProcess(python, [DependentPackage.zooScript, stubs.path, "serve"])
        let ports = try DependentPackage.ports(of: child)
        let said = try DependentPackage.run(try DependentPackage.program("zoo"), ["call", ports[0]])
        #expect(
            said == """
                mirror the same
                lose 5 Rex is gone: 100 % é
                weigh 50.0 100 a99
                breed 50 in order

                """)
    }
}
