import Collectives
import Foundation
import Testing

/// The one world of this process, for tests that come one after the other.
///
/// MPI starts and ends once a process, while each test is a function of its own. So a thread holds `World.run` open until
/// the process exits, and lends its world to the tests.
private final class SharedWorld: Sendable {
  static let instance = SharedWorld()

  private nonisolated(unsafe) var world: UnsafePointer<World>?
  private let started = DispatchSemaphore(value: 0)
  private let closing = DispatchSemaphore(value: 0)
  private let ended = DispatchSemaphore(value: 0)

  private init() {
    let thread = Thread { [self] in
      do {
        try World.run { world in
          withUnsafePointer(to: world) { pointer in
            self.world = pointer
            started.signal()
            closing.wait()
          }
        }
      } catch {
        FileHandle.standardError.write(Data("the world of the tests failed: \(error)\n".utf8))
        _exit(1)
      }
      ended.signal()
    }
    thread.start()
    started.wait()
    atexit {
      SharedWorld.instance.closing.signal()
      SharedWorld.instance.ended.wait()
    }
  }

  func run(_ name: String, _ body: (borrowing World) throws -> Void) throws {
    let names = try world!.pointee.allGather(Array(name.utf8))
    if Set(names).count > 1 {
      world!.pointee.abort(code: 1, "ranks are in different tests, this one in \(name)")
    }
    try body(world!.pointee)
  }
}

/// Runs a test's body in the shared world. All ranks must be in the same test, or the job is aborted.
func inWorld(_ name: String = #function, _ body: (borrowing World) throws -> Void) throws {
  try SharedWorld.instance.run(name, body)
}
