import Foundation

/// Runs the programs that were built beside these tests, as a user would, from the root of the package.
enum Program {
  struct Outcome {
    let code: Int32
    let output: String
    let errors: String
  }

  /// The folder of the programs: `BIPFT_BIN`, or where this test bundle lies.
  static let folder: URL = {
    if let path = ProcessInfo.processInfo.environment["BIPFT_BIN"] { return URL(fileURLWithPath: path) }
    return URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
  }()

  /// The root of the package.
  static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// `bipft`, in a world of one or under mpirun with `ranks`.
  static func bipft(
    _ arguments: [String], ranks: Int? = nil, environment: [String: String] = [:],
    folder directory: String? = nil
  ) throws -> Outcome {
    try launch("bipft", arguments, ranks: ranks, environment: environment, folder: directory)
  }

  /// `bipft COMMAND MODEL` with `input` on standard input; the command has no spaces within its words.
  static func bipft(_ command: String, _ model: String, input: Data) throws -> Outcome {
    let scratch = try Scratch()
    try input.write(to: URL(fileURLWithPath: scratch.path("input")))
    let program = folder.appendingPathComponent("bipft").path
    return try run(
      "/bin/sh", ["-c", "\"$0\" \(command) \"$1\" < \"$2\"", program, model, scratch.path("input")])
  }

  /// `bipft-pretrain` in a world of one, or under mpirun with `ranks`.
  static func pretrain(
    _ arguments: [String], ranks: Int? = nil, environment: [String: String] = [:],
    folder directory: String? = nil
  ) throws -> Outcome {
    try launch("bipft-pretrain", arguments, ranks: ranks, environment: environment, folder: directory)
  }

  private static func launch(
    _ name: String, _ arguments: [String], ranks: Int?, environment: [String: String],
    folder directory: String?
  ) throws -> Outcome {
    let program = folder.appendingPathComponent(name).path
    guard let ranks else {
      return try run(program, arguments, environment: environment, folder: directory)
    }
    return try run(
      "/usr/bin/env", ["mpirun", "-n", "\(ranks)", "--timeout", "120", program] + arguments,
      environment: mpiEnvironment.merging(environment) { $1 }, folder: directory)
  }

  /// As scripts/mpi-environment.sh: root may run, more ranks than cores may run.
  static let mpiEnvironment = [
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OPENBLAS_NUM_THREADS": "1",
  ]

  /// Whether small file systems can be mounted here; in many containers not even root may.
  static let canMount: Bool = {
    guard geteuid() == 0, let scratch = try? Scratch(),
      let mounted = try? run("/bin/mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", scratch.folder])
    else { return false }
    if mounted.code == 0 { _ = try? run("/bin/umount", [scratch.folder]) }
    return mounted.code == 0
  }()

  /// The threads that run tests block signals, and a child would inherit that.
  static func start(_ process: Process) throws {
    var (none, own) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &own)
    defer { pthread_sigmask(SIG_SETMASK, &own, nil) }
    try process.run()
  }

  static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    folder directory: String? = nil
  ) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.currentDirectoryURL = directory.map { URL(fileURLWithPath: $0) } ?? package
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    // Files, not pipes: a pipe of which nobody reads one end would stop the program.
    let scratch = try Scratch()
    let files = ["output", "errors"].map { scratch.path($0) }
    for file in files { try Data().write(to: URL(fileURLWithPath: file)) }
    process.standardOutput = FileHandle(forWritingAtPath: files[0])
    process.standardError = FileHandle(forWritingAtPath: files[1])
    try start(process)
    process.waitUntilExit()
    let texts = try files.map {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: $0)), as: UTF8.self)
    }
    return Outcome(code: process.terminationStatus, output: texts[0], errors: texts[1])
  }
}

/// A folder that goes with its owner.
final class Scratch: Sendable {
  let folder: String

  init() throws {
    folder = FileManager.default.temporaryDirectory.path + "/bipft-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(_ name: String) -> String { folder + "/" + name }

  func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path(name)))
  }

  func bytes(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path(name))) }

  func text(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }
}
