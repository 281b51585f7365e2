// swift-tools-version: 6.2
import PackageDescription

// What someone else's package looks like that stands on Cabstand's libraries.
let package = Package(
    name: "dependent",
    dependencies: [.package(name: "cabstand", path: Context.environment["CABSTAND_PATH"] ?? "../../..")],
    targets: [
        .executableTarget(
            name: "hello",
            dependencies: [
                .product(name: "Reactor", package: "cabstand"), .product(name: "HTTPServer", package: "cabstand"),
            ]),
        .executableTarget(
            name: "twenty",
            dependencies: [
                .product(name: "Reactor", package: "cabstand"), .product(name: "HTTPServer", package: "cabstand"),
                .product(name: "WebSocketServer", package: "cabstand"),
                .product(name: "GRPCRuntime", package: "cabstand"),
            ]),
        .executableTarget(
            name: "zoo",
            dependencies: [
                .product(name: "Reactor", package: "cabstand"), .product(name: "GRPCRuntime", package: "cabstand"),
            ]),
    ]
)
