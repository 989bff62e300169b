import CMPI
import Foundation
import Synchronization

/// All ranks of a job, seen from one of them.
///
/// Without a launcher of MPI a process is a world of one with the same interface. Every operation is collective unless it
/// says otherwise: all ranks call the same operations in the same order, one at a time.
public struct World: ~Copyable {
  /// This process: 0 ..< size.
  public let rank: Int
  public let size: Int
  public let hostName: String
  /// Ranks on this host, this one included.
  public let localSize: Int

  let traffic = Traffic()
  let exitCode: @Sendable (any Error) -> Int32
  private static let hasRun = Atomic<Bool>(false)

  /// Starts MPI, runs `body`, ends MPI. Once a process.
  ///
  /// An error that all ranks agreed on (`agree`, `together`) ends MPI in order and is rethrown. Any other error of `body`
  /// may be this rank's alone while the others wait for it, so with several ranks it aborts the job with its
  /// description as the reason; in a world of one it is rethrown.
  ///
  /// - Parameter exitCode: the exit code of the job for an error; used by `together` and for such aborts.
  /// - Throws: `WorldError.alreadyRun`, `.separateWorlds`, `.operation`, and what `body` throws.
  public static func run<Result>(
    exitCode: @escaping @Sendable (any Error) -> Int32 = { _ in 70 },
    _ body: (borrowing World) throws -> Result
  ) throws -> Result {
    guard !hasRun.exchange(true, ordering: .relaxed) else { throw WorldError.alreadyRun }
    let environment = LaunchEnvironment(ProcessInfo.processInfo.environment)
    let world = try World(launched: environment.isLaunched, exitCode: exitCode)
    let outcome = Swift.Result {
      try environment.check(size: world.size)
      return try body(world)
    }
    return try world.end(with: outcome)
  }

  private func end<Result>(with outcome: Swift.Result<Result, any Error>) throws -> Result {
    if case .failure(let error) = outcome, size > 1, !isAgreed(error) {
      abort(code: exitCode(error), "\(error)")
    }
    try check(cmpi_finish(), .finish)
    return try outcome.get()
  }

  private func isAgreed(_ error: any Error) -> Bool {
    if case .agreedFailure? = error as? WorldError { true } else { false }
  }

  private init(launched: Bool, exitCode: @escaping @Sendable (any Error) -> Int32) throws(WorldError) {
    var (rank, size, localSize): (Int32, Int32, Int32) = (0, 1, 1)
    try checkBridge(cmpi_start(launched, &rank, &size, &localSize), .start, rank: Int(rank))
    self.rank = Int(rank)
    self.size = Int(size)
    self.localSize = Int(localSize)
    hostName = ProcessInfo.processInfo.hostName
    self.exitCode = exitCode
  }

  /// Ends all ranks at once with `code` after one line on standard error. Any rank may call it alone.
  public func abort(code: Int32, _ reason: String) -> Never {
    FileHandle.standardError.write(Data("bipft: rank \(rank) (\(hostName)): \(reason)\n".utf8))
    cmpi_abort(code)
  }

  /// Processors that this rank may run on; ranks on one host may share them.
  public var processorCount: Int { Int(cmpi_processors()) }

  /// Their numbers, ascending.
  public var processors: [Int] {
    let count = processorCount
    return [Int32](unsafeUninitializedCapacity: count) { numbers, filled in
      filled = Int(cmpi_processor_list(numbers.baseAddress, Int32(count)))
    }.map(Int.init)
  }

  /// Payload bytes that this rank has sent to other ranks. A broadcast counts `size - 1` copies, at its root.
  public var bytesSent: Int { WorldOperation.allCases.reduce(0) { $0 + bytesSent(by: $1) } }

  /// The part of `bytesSent` due to one kind of operation.
  public func bytesSent(by operation: WorldOperation) -> Int { traffic.bytes(by: operation) }

  /// Turns a code of the C bridge into an error that names the operation.
  func check(_ code: Int32, _ operation: WorldOperation) throws(WorldError) {
    try checkBridge(code, operation, rank: rank)
  }
}

/// The one place where a code of the C bridge becomes an error.
private func checkBridge(_ code: Int32, _ operation: WorldOperation, rank: Int) throws(WorldError) {
  guard code != 0 else { return }
  let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
    cmpi_error_text(code, buffer.baseAddress!, buffer.count)
    return String(cString: buffer.baseAddress!)
  }
  throw .operation(name: operation.rawValue, code: Int(code), text: text, rank: rank)
}

extension World {
  /// Ends all ranks at once with `code`, from any thread of any rank, whatever its other threads are doing: for a
  /// watchdog. Says nothing.
  public static func endJob(code: Int32) -> Never {
    // Should MPI be stuck itself, the signal ends this process, and with it the job.
    alarm(10)
    cmpi_abort(code)
  }
}
