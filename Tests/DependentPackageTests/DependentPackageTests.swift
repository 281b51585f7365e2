import TestSupport
import Testing

/// A separate package that depends on this one's library products, built from the files in `package` with code that
/// protoc-gen-cabstand writes now. It lies in `.build`, so that only the first run compiles everything.
enum DependentPackage {
    static let path = Tool.repository + "/.build/dependent"
    private static let material = Tool.repository + "/Tests/DependentPackageTests"

    /// What `swift build` said; built once for all tests.
    static let build: Result<String, any Error> = Result {
        try run("rm", ["-rf", path + "/Sources", path + "/protos", path + "/Package.swift"])
        try run("mkdir", ["-p", path])
        try run("cp", ["-r", material + "/package/.", path])
        try run("mkdir", ["-p", path + "/Sources/zoo/Generated"])
        try run(
            "protoc",
            [
                "-I\(path)/protos", "-I\(Tool.repository)/Sources/ProtobufWire/protos",
                "--plugin=protoc-gen-cabstand=\(Tool.program("protoc-gen-cabstand"))",
                "--cabstand_out=\(path)/Sources/zoo/Generated", "foreign/zoo/v1/zoo.proto",
            ])
        return try run("swift", ["build", "--package-path", path, "--scratch-path", path + "/.build"], timeout: 900)
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
                "-m", "grpc_tools.protoc", "-I\(material)/package/protos", "--python_out=\(folder.path)",
                "--grpc_python_out=\(folder.path)", "foreign/zoo/v1/zoo.proto",
            ])
        return folder
    }

    static let python = Tool.python(importing: ["grpc_tools.protoc", "grpc", "grpc_reflection"])
    static let zooScript = material + "/zoo.py"

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

    @Test(.enabled(if: Tool.find("curl") != nil && Tool.find("stdbuf") != nil, "needs curl and stdbuf"))
    func theProgramOfTheReadmeIsWhole() throws {
        let program = try DependentPackage.program("hello")
        let source = TemporaryFolder.read(DependentPackage.path + "/Sources/hello/main.swift")
        #expect(source.count > 200)
        #expect(TemporaryFolder.read(Tool.repository + "/README.md").contains("```swift\n\(source)```"))
        // What it prints would stay in its buffer: it does not end.
        let child = try ChildProcess("stdbuf", ["-oL", program])
        try child.waitForOutput("/hello/Ada\n")
        let address = String(child.output.prefix { $0 != "\n" })
        #expect(try DependentPackage.run("curl", ["-s", address]) == "Hello, Ada!\n")
    }

    @Test(.enabled(if: Tool.find("curl") != nil, "needs curl"))
    func twentyLinesServeHTTPAndWebSocket() throws {
        let child = try ChildProcess(try DependentPackage.program("twenty"), [])
        let ports = try DependentPackage.ports(of: child)
        let hello = try DependentPackage.run("curl", ["-s", "http://127.0.0.1:\(ports[0])/hello/world"])
        #expect(hello == "Hello, world!")
        let refused = try DependentPackage.run("curl", ["-s", "-i", "http://127.0.0.1:\(ports[1])/echo"])
        #expect(refused.hasPrefix("HTTP/1.1 426"), "\(refused)")
        if let python = Tool.python(importing: ["grpc_health"]) {
            let script = """
                import grpc, sys
                from grpc_health.v1 import health_pb2, health_pb2_grpc
                stub = health_pb2_grpc.HealthStub(grpc.insecure_channel("127.0.0.1:" + sys.argv[1]))
                print(stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status)
                """
            #expect(try DependentPackage.run(python, ["-c", script, ports[2]]) == "1\n")
        }
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
