// swift-tools-version: 6.2
import PackageDescription

// A program that uses packed models and nothing else of bipft: with `traits: []` no other package is fetched.
let package = Package(
  name: "examples",
  dependencies: [.package(name: "bipft", path: "..", traits: [])],
  targets: [
    .executableTarget(
      name: "nearest", dependencies: [.product(name: "BinaryInference", package: "bipft")])
  ]
)
