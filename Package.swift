// swift-tools-version: 6.2
import PackageDescription

// Each target imports only what stands above it in this file: the arrows point one way (docs/architecture.md).
// One set of build flags everywhere: tests use `package` access and `--disable-testable-imports`, so that tests,
// demo and product share one release build.

let strict: [SwiftSetting] = [
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)Tests", swiftSettings: strict)
}

let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let coreMetrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
    name: "scriptorium",
    products: [
        .executable(name: "scriptorium", targets: ["scriptorium"]),
        .library(name: "ScriptoriumClient", targets: ["Client"]),
        .library(name: "ScriptoriumEngine", targets: ["ScriptoriumEngine"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        // C libraries of the system (Debian's -dev packages: ops/packages.txt).
        // libzmq.pc carries -isystem, which SwiftPM refuses with a warning: its module map links instead.
        .systemLibrary(name: "CZeroMQ"),
        .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq"),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib"),
        .systemLibrary(name: "CMsgPack", pkgConfig: "msgpack"),
        .systemLibrary(name: "CJansson", pkgConfig: "jansson"),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto"),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl"),

        // The engine.
        .target(name: "CKernels"),
        library("Kernels", ["CKernels"]),
        library("DurableFiles", []),
        library("Encodings", ["CMsgPack", "CJansson", "CCrypto"]),
        library("Tokenizers", ["DurableFiles", "Encodings"]),
        library("Datasets", ["CZlib", "CMsgPack", "DurableFiles", "Encodings", "Tokenizers", "Kernels"]),
        library("ModelFiles", ["CKernels", "Kernels", "DurableFiles", "Encodings", "Tokenizers"]),
        library("LanguageModels", ["CKernels", "Kernels", "ModelFiles", "Encodings"]),
        library("Generation", ["CKernels", "Kernels", "LanguageModels", "Tokenizers", "Encodings"]),
        library(
            "Training",
            ["CKernels", "Kernels", "LanguageModels", "ModelFiles", "Datasets", "Tokenizers", "DurableFiles", "Encodings", "Generation"]),
        library(
            "ScriptoriumEngine",
            ["Kernels", "Encodings", "Tokenizers", "Datasets", "ModelFiles", "LanguageModels", "Generation", "Training", "TaskProtocol"]),

        // The queue.
        library("Measures", []),
        library("Messaging", ["CZeroMQ"]),
        library("TaskProtocol", ["Encodings"]),
        library("TaskStore", ["CPostgreSQL", "Encodings", "TaskProtocol"]),
        library("ArtifactStore", ["DurableFiles", "Encodings", "TaskProtocol"]),
        library("Downloads", ["CCurl", "CCrypto", "DurableFiles", "Encodings"]),
        library(
            "Broker",
            [
                "Downloads", "DurableFiles", "Measures", "Messaging", "TaskProtocol", "TaskStore", "ArtifactStore", "Encodings", collections, logging,
                metrics,
            ]),
        library(
            "Worker",
            [
                "Messaging", "TaskProtocol", "ArtifactStore", "DurableFiles", "Encodings", "Kernels", "Tokenizers", "Datasets", "ModelFiles",
                "LanguageModels",
                "Generation", "Training", collections, logging, metrics,
            ]),
        library("Client", ["Messaging", "TaskProtocol", "ArtifactStore", "Encodings"]),
        library("Supervision", ["DurableFiles"]),
        library(
            "Operations",
            [
                "Measures", .product(name: "Hummingbird", package: "hummingbird"), .product(name: "NIOCore", package: "swift-nio"), lifecycle,
                logging, metrics,
                coreMetrics,
            ]),
        library(
            "Diagnosis",
            ["Kernels", "Encodings", "ModelFiles", "LanguageModels", "Messaging", "TaskProtocol", "TaskStore", "ArtifactStore"]),
        .executableTarget(
            name: "scriptorium",
            dependencies: [
                "Kernels", "DurableFiles", "Encodings", "Tokenizers", "Datasets", "ModelFiles", "LanguageModels", "Generation", "Training",
                "Messaging", "Measures", "TaskProtocol", "TaskStore", "ArtifactStore", "Broker", "Worker", "Client", "Supervision", "Downloads",
                "Operations", "Diagnosis", lifecycle,
                logging, metrics,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
            ],
            swiftSettings: strict),

        // Tests: a target a library. Tests/EndToEnd drives real processes, from Python.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        // What the kernels must give, in C: also built for other processors and run under emulation (cross_kernels_test.py).
        .target(name: "GoldenKernels", dependencies: ["CKernels"], path: "Tests/GoldenKernels", exclude: ["golden.txt"]),
        tests("Kernels", ["Kernels", "CKernels", "GoldenKernels"]),
        tests("DurableFiles", ["DurableFiles"]),
        tests("Encodings", ["Encodings"]),
        tests("Tokenizers", ["Tokenizers", "Encodings"]),
        tests("Datasets", ["Datasets", "Tokenizers", "Encodings", "Kernels"]),
        tests("ModelFiles", ["ModelFiles", "DurableFiles", "Encodings", "Tokenizers"]),
        tests("LanguageModels", ["LanguageModels", "Kernels", "ModelFiles", "Encodings"]),
        tests("Generation", ["Generation", "LanguageModels", "Kernels", "ModelFiles", "Tokenizers", "Encodings"]),
        tests("Training", ["Training", "LanguageModels", "Kernels", "ModelFiles", "Datasets", "Tokenizers", "DurableFiles", "Encodings"]),
        tests("Measures", ["Measures"]),
        tests("ScriptoriumEngine", ["ScriptoriumEngine", "Kernels", "Tokenizers", "Datasets"]),
        // The README's example, byte for byte (readme_test.py), as a program that depends on what a library's user depends on.
        .executableTarget(name: "readme-example", dependencies: ["ScriptoriumEngine"], path: "Tests/ReadmeExample"),
        tests("Messaging", ["Messaging"]),
        tests("TaskProtocol", ["TaskProtocol", "Encodings"]),
        .target(
            name: "DatabaseTestSupport", dependencies: ["TaskStore", "TestSupport"], path: "Tests/DatabaseTestSupport", swiftSettings: strict),
        tests("ArtifactStore", ["ArtifactStore", "TaskProtocol", "Encodings"]),
        .target(
            name: "QueueSimulation", dependencies: ["Broker", "TaskProtocol", "Encodings", "TestSupport"], path: "Tests/QueueSimulation",
            swiftSettings: strict),
        tests("TaskStore", ["TaskStore", "TaskProtocol", "Encodings", "QueueSimulation", "DatabaseTestSupport"]),
        tests(
            "Broker",
            [
                "Broker", "Downloads", "Measures", "TaskProtocol", "TaskStore", "ArtifactStore", "Messaging", "Encodings", "QueueSimulation",
                "DatabaseTestSupport",
            ]),
        tests("Simulation", ["Broker", "Worker", "TaskProtocol", "Encodings", "QueueSimulation"]),
        tests(
            "Worker",
            [
                "Worker", "Broker", "TaskProtocol", "ArtifactStore", "DurableFiles", "Messaging", logging, "Encodings", "ModelFiles", "Tokenizers",
                "Datasets", "LanguageModels",
            ]),
        tests("Client", ["Client", "TaskProtocol", "ArtifactStore", "Encodings", "Messaging"]),
        tests("Supervision", ["Supervision"]),
        tests("Downloads", ["Downloads"]),
        tests(
            "Diagnosis", ["Diagnosis", "Kernels", "Messaging", "TaskProtocol", "TaskStore", "ArtifactStore", "Encodings", "DatabaseTestSupport"]),
        tests("Operations", ["Operations", "Measures", logging, coreMetrics, lifecycle]),
    ],
    swiftLanguageModes: [.v6]
)
