// swift-tools-version: 6.2
import PackageDescription

/// Warnings are errors in continuous integration alone (.ci/run): a newer compiler must not break the builds of others.
let isStrict = Context.environment["BIPFT_WARNINGS_AS_ERRORS"] == "1"

let swift: [SwiftSetting] =
  [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]
  + (isStrict ? [.treatAllWarnings(as: .error)] : [])
let c: [CSetting] =
  [.enableWarning("all"), .enableWarning("extra")] + (isStrict ? [.treatAllWarnings(as: .error)] : [])

/// What the programs need and the library BinaryInference does not: a client with `traits: []` fetches no other package.
let training: TargetDependencyCondition? = .when(traits: ["Training"])
let yams: Target.Dependency = .product(name: "Yams", package: "Yams", condition: training)
let arguments: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser", condition: training)

/// One Swift module: its sources in Sources/NAME.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swift)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(name: name, dependencies: dependencies, swiftSettings: swift)
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []
) -> Target {
  .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: swift)
}

let package = Package(
  name: "bipft",
  products: [
    .executable(name: "bipft-pretrain", targets: ["bipft-pretrain"]),
    .executable(name: "bipft", targets: ["bipft"]),
    .executable(name: "bipft-tools", targets: ["bipft-tools"]),
    // Packed models in other programs: no MPI, no BLAS, no training.
    .library(name: "BinaryInference", targets: ["BinaryInference"]),
  ],
  traits: [
    .default(enabledTraits: ["Training"]),
    .trait(
      name: "Training", description: "The programs, which fetch packages that the library does without."),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
  ],
  targets: [
    // Libraries of the system.
    .systemLibrary(name: "COpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    // C of our own.
    .target(name: "CMPI", dependencies: ["COpenMPI"], cSettings: c),
    .target(name: "CBitKernels", cSettings: c),
    .target(name: "CMappedFiles", cSettings: c),
    // Swift, lowest first; each module imports only modules above it in this list.
    module("FileFormats"),
    module("WordPiece"),
    module("BinaryInference", ["CBitKernels", "FileFormats", "WordPiece"]),
    module("DurableFiles", ["COpenSSL", "CMappedFiles", "FileFormats"]),
    module("Kernels", ["CBitKernels"]),
    module("LeastSquares", ["Kernels", "COpenBLAS"]),
    module("Collectives", ["CMPI", "CBitKernels", "Kernels"]),
    module("TensorFiles", ["DurableFiles", "FileFormats"]),
    module("Corpora", ["Kernels", "DurableFiles", "WordPiece"]),
    module("Parameters"),
    module(
      "BinaryModel",
      ["BinaryInference", "Kernels", "LeastSquares", "FileFormats", "TensorFiles", "Parameters"]),
    module(
      "Coordinator",
      ["Kernels", "Collectives", "Corpora", "TensorFiles", "Parameters", "DurableFiles"]),
    module("Tasks", ["DurableFiles", "Corpora", "WordPiece"]),
    module("Telemetry", ["DurableFiles"]),
    module("RunSettings", ["FileFormats", "DurableFiles", "Kernels", "Collectives", "BinaryModel", yams]),
    module(
      "Planning",
      [
        "Kernels", "LeastSquares", "Collectives", "Parameters", "BinaryModel", "Coordinator", "Telemetry",
        "RunSettings",
      ]),
    module(
      "Training",
      [
        "FileFormats", "BinaryInference", "DurableFiles", "Kernels", "LeastSquares", "Collectives",
        "TensorFiles", "Corpora", "Parameters", "BinaryModel", "Coordinator", "Tasks", "Telemetry",
        "RunSettings", "Planning",
      ]),
    module("RunArguments", [arguments]),
    program("bipft-pretrain", ["RunArguments", "Training", "Planning", "Collectives", arguments]),
    module(
      "ModelCommands",
      ["BinaryInference", "FileFormats", "DurableFiles", "Kernels", "TensorFiles", arguments]),
    program("bipft", ["ModelCommands"]),
    program(
      "bipft-tools",
      [
        "ModelCommands", "RunArguments", "Training", "Planning", "RunSettings", "Coordinator", "Corpora",
        "BinaryModel",
        "LeastSquares", "Kernels", "BinaryInference", "FileFormats", "DurableFiles", "TensorFiles",
        arguments,
      ]),
    // Tests. Those of Collectives run under mpirun too (scripts/test.sh).
    .target(name: "Mutations", path: "Tests/Mutations", swiftSettings: swift),
    .target(
      name: "SumAccuracy", dependencies: ["BinaryModel", "Collectives", "Kernels", "Parameters", "Planning"],
      path: "Tests/SumAccuracy", swiftSettings: swift),
    tests(
      "BinaryInferenceTests",
      [
        "BinaryInference", "BinaryModel", "CBitKernels", "FileFormats", "Kernels", "Parameters",
        "TensorFiles", "Mutations", "CAllocationCount",
      ]),
    tests("DurableFilesTests", ["DurableFiles"]),
    tests("KernelsTests", ["Kernels", "LeastSquares"]),
    tests("TensorFilesTests", ["TensorFiles", "DurableFiles", "Mutations"]),
    tests("CorporaTests", ["Corpora", "Kernels", "Mutations"], resources: [.copy("Resources")]),
    tests("CollectivesTests", ["Collectives", "Kernels"]),
    tests(
      "GoldenTests", ["BinaryModel", "Collectives", "Kernels", "Parameters", "SumAccuracy", "TensorFiles"],
      resources: [.copy("Golden")]),
    tests("BinaryModelTests", ["BinaryModel", "LeastSquares", "Kernels", "Parameters", "TensorFiles"]),
    tests(
      "CoordinatorTests",
      [
        "Coordinator", "Kernels", "Collectives", "Corpora", "TensorFiles", "Parameters", "BinaryModel",
        "Mutations",
      ]),
    .target(name: "CAllocationCount", path: "Tests/CAllocationCount", cSettings: c),
    tests("AllocationTests", ["CAllocationCount", "BinaryModel", "LeastSquares", "Kernels"]),
    tests("TasksTests", ["Tasks", "Corpora"], resources: [.copy("Resources")]),
    tests("TelemetryTests", ["Telemetry", "DurableFiles", "Mutations"]),
    tests("RunSettingsTests", ["RunSettings"]),
    tests(
      "PlanningTests", ["Planning", "RunSettings", "Collectives", "BinaryModel", "Parameters", "Mutations"]),
    tests(
      "TrainingTests",
      [
        "Training", "Planning", "RunSettings", "Coordinator", "Corpora", "BinaryModel", "Kernels",
        "DurableFiles",
      ]),
    tests(
      "ObjectiveTests",
      [
        "Training", "RunSettings", "Coordinator", "Telemetry", "BinaryModel", "Parameters", "Collectives",
        "Kernels", "DurableFiles",
      ]),
    tests(
      "SystemTests",
      [
        "Collectives", "Kernels", "TensorFiles", "BinaryModel", "Coordinator", "Telemetry", "RunSettings",
        "Planning", "SumAccuracy", "Training",
      ], resources: [.copy("Resources")]),
  ]
)
