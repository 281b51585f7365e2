// swift-tools-version: 6.2
import PackageDescription

// What stands on Cabstand's libraries looks like this: only declared products, and no unsafe code.
let settings: [SwiftSetting] = [.strictMemorySafety(), .treatAllWarnings(as: .error)]

func example(_ name: String, _ libraries: String...) -> Target {
    .executableTarget(
        name: name, dependencies: libraries.map { .product(name: $0, package: "cabstand") }, swiftSettings: settings)
}

let package = Package(
    name: "examples",
    // Elsewhere: .package(url: "…/cabstand.git", from: "1.0.0")
    dependencies: [.package(name: "cabstand", path: Context.environment["CABSTAND_PATH"] ?? "../..")],
    targets: [
        example("hello", "HTTPServer"),
        example("notes", "HTTPServer"),
        example("export", "HTTPServer"),
        example("fetch", "HTTPClient"),
        example("chat", "WebSocketServer"),
        example("greeter", "GRPCRuntime"),
        example("tail", "KafkaClient"),
        // Every kind of call and of field, of a service of somebody else's.
        example("zoo", "GRPCRuntime"),
    ]
)
