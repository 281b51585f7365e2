// swift-tools-version: 6.2
import Foundation
import PackageDescription

// No package dependencies: the house stands on the toolchain and on Debian's system libraries.
//
// Three switches, all off by default so that a package that depends on this one is never bothered:
//   CABSTAND_WARNINGS_AS_ERRORS=1   every warning is an error (set by .ci/run)
//   CABSTAND_ROOMS=HTTP1,Reactor    only these rooms, what they stand on and their tests: a quick build of one room
//   CABSTAND_FUZZ=1                 the fuzzing program, too: libFuzzer brings its main (set by deploy/fuzz.sh)

let environment = ProcessInfo.processInfo.environment

let settings: [SwiftSetting] =
    [
        .swiftLanguageMode(.v6),
        .strictMemorySafety(),
        .enableExperimentalFeature("Lifetimes"),
        .enableUpcomingFeature("ExistentialAny"),
    ] + (environment["CABSTAND_WARNINGS_AS_ERRORS"] == "1" ? [.treatAllWarnings(as: .error)] : [])

/// In rooms whose rules are tasks of a loop, an async function stays where its caller is (SE-0461).
func settings(of room: String) -> [SwiftSetting] {
    ["Storage", "SQLiteStore", "DriverService", "TripService"].contains(room)
        ? settings + [.enableUpcomingFeature("NonisolatedNonsendingByDefault")] : settings
}

/// A library room and what it stands on.
func room(_ name: String, _ dependencies: [String] = [], exclude: [String] = []) -> Target {
    .target(
        name: name, dependencies: dependencies.map { .byName(name: $0) }, exclude: exclude,
        swiftSettings: settings(of: name))
}

/// A program: a `main` of a screenful.
func program(_ name: String, _ dependencies: [String], path: String? = nil, exclude: [String] = []) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies.map { .byName(name: $0) }, path: path, exclude: exclude,
        swiftSettings: settings)
}

/// The tests of one room, in Tests/<room>Tests.
func tests(_ name: String, _ dependencies: [String] = [], exclude: [String] = []) -> Target {
    .testTarget(
        name: name + "Tests", dependencies: ([name] + dependencies).map { .byName(name: $0) }, exclude: exclude,
        swiftSettings: settings(of: name))
}

var targets: [Target] = [
    // Floor 0: C
    .systemLibrary(name: "CLinux"),
    .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CRdKafka", providers: [.apt(["librdkafka-dev"])]),
    .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),

    // Floor 1: ground
    room("Basics"),
    room("Bytes"),
    room("Memory"),
    room("Compression", ["Bytes", "CZlib"]),
    room("Reactor", ["Basics", "Bytes", "Memory", "CLinux", "COpenSSL"]),
    room("ReactorSim", ["Basics", "Reactor"]),

    // Floor 2: engines (no I/O, no clock, no Foundation)
    room("HTTP1", ["Bytes"]),
    room("WebSockets", ["Bytes", "Compression"]),
    room("HTTP2", ["Basics", "Bytes", "Memory"]),
    room("ProtobufWire", ["Bytes"], exclude: ["protos"]),
    room("JSONWire", ["Bytes"]),
    room("RideDomain", ["Bytes"]),

    // Floor 3: parts. Telemetry and Settings lie half a floor below the others, RideAPI and Operations half a floor above.
    room("Telemetry", ["Bytes", "Reactor"]),
    room("Settings"),
    room("HTTPServer", ["Basics", "Bytes", "Memory", "Reactor", "HTTP1", "JSONWire", "Compression", "Telemetry"]),
    room("HTTPClient", ["Basics", "Bytes", "Memory", "Reactor", "HTTP1", "Compression", "Telemetry"]),
    room(
        "WebSocketServer", ["Bytes", "Memory", "Reactor", "HTTP1", "HTTPServer", "WebSockets", "COpenSSL", "Telemetry"]),
    room(
        "GRPCRuntime", ["Basics", "Bytes", "Memory", "Reactor", "HTTP2", "ProtobufWire", "Compression", "Telemetry"],
        exclude: ["protos"]),
    room("KafkaClient", ["Reactor", "CRdKafka", "CLinux", "Telemetry"]),
    room("AccessTokens", ["Bytes", "Memory", "JSONWire", "COpenSSL"]),
    room("Storage", ["Reactor", "Telemetry"]),
    room("SQLiteStore", ["Reactor", "CSQLite", "Storage", "Telemetry"]),
    room(
        "RideAPI", ["Bytes", "Reactor", "ProtobufWire", "JSONWire", "GRPCRuntime", "RideDomain"], exclude: ["protos"]),
    room(
        "Operations", ["Basics", "Bytes", "Reactor", "JSONWire", "Telemetry", "Settings", "HTTPServer", "KafkaClient"]),

    room(
        "Access",
        [
            "HTTP1", "HTTPClient", "JSONWire", "AccessTokens", "Basics", "Bytes", "Reactor", "GRPCRuntime", "Telemetry",
            "Settings", "KafkaClient", "RideDomain", "RideAPI", "Operations",
        ]),

    // Floor 4: services
    room(
        "DriverService",
        [
            "Access", "AccessTokens", "Basics", "ProtobufWire", "Bytes", "Reactor", "RideDomain", "Telemetry",
            "Settings", "GRPCRuntime",
            "KafkaClient", "Storage", "SQLiteStore", "RideAPI", "Operations",
        ]),
    room(
        "TripService",
        [
            "Access", "Basics", "Bytes", "Reactor", "RideDomain", "Telemetry", "Settings", "GRPCRuntime", "KafkaClient",
            "Storage", "SQLiteStore", "RideAPI", "Operations",
        ]),
    room(
        "GatewayService",
        [
            "Access", "AccessTokens", "Basics", "ProtobufWire", "WebSockets", "Bytes", "Reactor", "JSONWire", "HTTP1",
            "RideDomain", "Telemetry",
            "Settings", "HTTPServer", "WebSocketServer", "GRPCRuntime", "KafkaClient", "RideAPI", "Operations",
        ]),

    room(
        "DriverSimulator",
        [
            "Access", "Basics", "Bytes", "Reactor", "HTTPClient", "JSONWire", "RideDomain", "Telemetry", "Settings",
            "GRPCRuntime", "RideAPI", "Operations",
        ]),

    // Floor 5: programs
    program("gateway", ["Access", "GatewayService", "Operations", "Settings"]),
    program("driver", ["DriverService", "DriverSimulator", "GRPCRuntime", "Operations", "Settings"]),
    program("simulator", ["DriverSimulator", "Operations", "Settings"]),
    program("trip", ["TripService", "GRPCRuntime", "Operations", "Settings"]),
    program(
        "cabstand",
        [
            "Access", "RideAPI", "GatewayService", "DriverService", "DriverSimulator", "TripService", "Operations",
            "KafkaClient",
            "Settings", "Telemetry",
        ]),
    program("protoc-gen-cabstand", ["ProtobufWire", "Bytes"]),
    program(
        "benchmarks",
        [
            "Basics", "Bytes", "Memory", "Reactor", "HTTPServer", "WebSockets", "WebSocketServer", "HTTP2",
            "GRPCRuntime",
            "ProtobufWire", "JSONWire", "RideAPI",
        ],
        path: "Tests/Benchmarks", exclude: ["protos"]),
    program(
        "conformance",
        [
            "Basics", "Bytes", "Reactor", "HTTP1", "HTTP2", "HTTPServer", "HTTPClient", "WebSockets", "WebSocketServer",
            "GRPCRuntime",
            "ProtobufWire",
        ],
        path: "Tests/Conformance", exclude: ["peers", "protos", "suites"]),

    // Tests mirror the rooms. TestSupport starts and stops real programs.
    .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
    tests("Basics"),
    tests("Bytes"),
    tests("Memory"),
    tests("Compression", ["Basics", "Bytes"]),
    tests("Reactor", ["Basics", "ReactorSim", "Bytes", "COpenSSL", "TestSupport"]),
    tests("HTTP1", ["Bytes", "TestSupport"]),
    tests("WebSockets", ["Basics", "Bytes", "CZlib"]),
    tests("HTTP2", ["Basics", "Bytes", "TestSupport"], exclude: ["Corpus"]),
    tests(
        "ProtobufWire", ["Basics", "Bytes", "TestSupport", "protoc-gen-cabstand"], exclude: ["protos", "interop.py"]),
    tests("JSONWire", ["Basics", "Bytes"]),
    tests("RideDomain", ["Basics"]),
    tests("Telemetry", ["Bytes"]),
    tests("Settings"),
    tests("AccessTokens", ["Basics", "Bytes", "JSONWire", "TestSupport"], exclude: ["Corpus"]),
    tests(
        "Access",
        [
            "AccessTokens", "Basics", "Bytes", "HTTPClient", "HTTPServer", "KafkaClient", "Reactor", "ReactorSim",
            "RideAPI", "GRPCRuntime", "Operations", "RideDomain", "Settings", "DriverService", "TripService",
            "JSONWire", "TestSupport",
        ]),
    tests(
        "HTTPServer", ["Basics", "Bytes", "Compression", "Reactor", "ReactorSim", "HTTP1", "Telemetry", "TestSupport"],
        exclude: ["Corpus"]
    ),
    tests(
        "HTTPClient", ["Bytes", "Compression", "Reactor", "ReactorSim", "HTTPServer", "TestSupport"],
        exclude: ["Corpus"]),
    tests("Operations", ["Bytes", "Reactor", "HTTPServer", "Settings"]),
    tests(
        "WebSocketServer",
        ["WebSockets", "HTTPServer", "Bytes", "Compression", "Reactor", "ReactorSim", "Telemetry", "TestSupport"],
        exclude: ["autobahn.py"]),
    tests(
        "GRPCRuntime",
        [
            "Basics", "Bytes", "Compression", "Reactor", "ReactorSim", "HTTP2", "ProtobufWire", "CZlib", "Telemetry",
            "TestSupport",
        ],
        exclude: ["protos", "grpcio_peer.py"]),
    tests("KafkaClient", ["Bytes", "Reactor", "CRdKafka", "Telemetry", "TestSupport"]),
    tests("SQLiteStore", ["Reactor", "ReactorSim", "Storage", "Telemetry", "TestSupport"]),
    tests("RideAPI", ["Bytes", "ProtobufWire", "JSONWire", "GRPCRuntime", "RideDomain"]),
    tests(
        "DriverSimulator",
        [
            "Basics", "Bytes", "GRPCRuntime", "HTTPClient", "HTTPServer", "JSONWire", "Operations", "Reactor",
            "ReactorSim", "RideAPI", "RideDomain", "Settings", "TestSupport",
        ]),
    tests(
        "DriverService",
        [
            "Access", "Basics", "DriverSimulator", "Operations", "Settings", "Bytes", "Reactor", "ReactorSim",
            "ProtobufWire",
            "RideDomain", "RideAPI", "GRPCRuntime", "KafkaClient", "Storage", "SQLiteStore", "Telemetry", "TestSupport",
        ]),
    tests(
        "TripService",
        [
            "Bytes", "Reactor", "ReactorSim", "RideDomain", "RideAPI", "GRPCRuntime", "KafkaClient", "Storage",
            "SQLiteStore", "Telemetry", "TestSupport",
        ]),
    tests(
        "GatewayService",
        [
            "Access", "AccessTokens", "Basics", "Operations", "Settings", "Bytes", "Reactor", "ReactorSim", "JSONWire",
            "ProtobufWire",
            "RideDomain", "RideAPI", "GRPCRuntime", "HTTP1", "HTTPClient", "HTTPServer", "WebSocketServer",
            "WebSockets", "TestSupport",
        ]),
    // What is fuzzed, as plain functions: libFuzzer calls them (deploy/fuzz.sh), and FuzzTests with all that it ever found.
    .target(
        name: "FuzzTargets",
        dependencies: [
            "AccessTokens", "Bytes", "Reactor", "ReactorSim", "HTTP1", "WebSockets", "HTTP2", "ProtobufWire",
            "JSONWire",
            "Telemetry", "HTTPServer", "HTTPClient", "WebSocketServer", "GRPCRuntime", "RideAPI", "RideDomain",
            "GatewayService",
        ],
        path: "Tests/Fuzz/Targets",
        // The gateway's own parts can be reached where testing is enabled: in debug builds, and in the fuzzing program.
        swiftSettings: settings + [
            environment["CABSTAND_FUZZ"] == "1"
                ? .define("TESTABLE") : .define("TESTABLE", .when(configuration: .debug))
        ]),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: settings),
    .testTarget(
        name: "DependentPackageTests", dependencies: ["TestSupport", "KafkaClient", "protoc-gen-cabstand"],
        exclude: ["zoo.py"], swiftSettings: settings),
    .testTarget(
        name: "EndToEndTests",
        dependencies: [
            "TestSupport", "Operations", "Settings", "Reactor", "RideAPI", "KafkaClient", "gateway", "driver", "trip",
            "simulator", "cabstand",
        ],
        exclude: ["browser", "gateway_messages.py", "tour.py"], swiftSettings: settings),
]

if environment["CABSTAND_FUZZ"] == "1" {
    targets.append(program("fuzz", ["FuzzTargets"], path: "Tests/Fuzz/Driver"))
}

if let wanted = environment["CABSTAND_ROOMS"], !wanted.isEmpty {
    func names(_ dependencies: [Target.Dependency]) -> [String] {
        dependencies.compactMap { if case .byNameItem(let name, _) = $0 { name } else { nil } }
    }
    let byName = Dictionary(uniqueKeysWithValues: targets.map { ($0.name, $0) })
    var kept: Set<String> = []
    var queue = wanted.split(separator: ",").map(String.init)
    queue += queue.map { $0 + "Tests" }
    while let name = queue.popLast() {
        guard let target = byName[name], kept.insert(name).inserted else { continue }
        queue += names(target.dependencies)
    }
    targets = targets.filter { kept.contains($0.name) }
}

/// Each with the rooms that its interface shows, so that an importer may name them.
let libraries: KeyValuePairs = [
    "Reactor": ["Reactor", "Basics", "Bytes", "Memory"],
    "HTTPServer": ["HTTPServer", "HTTP1", "JSONWire", "Telemetry", "Reactor", "Basics", "Bytes", "Memory"],
    "HTTPClient": ["HTTPClient", "HTTP1", "Telemetry", "Reactor", "Basics", "Bytes", "Memory"],
    "WebSocketServer": [
        "WebSocketServer", "WebSockets", "HTTPServer", "HTTP1", "Telemetry", "Reactor", "Basics", "Bytes", "Memory",
    ],
    "GRPCRuntime": ["GRPCRuntime", "ProtobufWire", "Telemetry", "Reactor", "Basics", "Bytes", "Memory"],
    "KafkaClient": ["KafkaClient", "Telemetry", "Reactor", "Basics", "Bytes", "Memory"],
]
let programs = ["gateway", "driver", "trip", "simulator", "cabstand", "protoc-gen-cabstand"]
let present = Set(targets.map(\.name))

let package = Package(
    name: "cabstand",
    products: libraries.filter { present.contains($0.key) }.map { .library(name: $0.key, targets: $0.value) }
        + programs.filter(present.contains).map { .executable(name: $0, targets: [$0]) },
    targets: targets
)
