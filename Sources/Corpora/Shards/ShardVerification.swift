import DurableFiles
import Foundation
import Synchronization

/// Compares shard files with their SHA-256 in corpus.json once, on a thread of its own, while a run reads them: damage in place,
/// which leaves sizes and indices as they were, is found by nothing else.
///
/// The thread has the lowest priority (nice 19). What it does changes no result but the error of `check`.
///
/// - Cost: reads the files once, a megabyte at a time: about a second of one core for 1 to 2 GB.
final class ShardVerification: Sendable {
  private let finding = Mutex<CorpusError?>(nil)
  private let hasFinding = Atomic<Bool>(false)

  /// Begins to read `files` on another thread.
  func start(_ files: [(path: String, information: FileInformation)]) {
    let thread = Thread { [self] in
      // On Linux a thread has a priority of its own.
      setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
      read(files)
    }
    thread.name = "bipft.shards"
    thread.start()
  }

  /// Throws what has been found so far: `wrongDigest` for a shard that is not as corpus.json has it, `cannotRead`.
  ///
  /// - Cost: an atomic load.
  func check() throws(CorpusError) {
    guard hasFinding.load(ordering: .acquiring) else { return }
    if let error = finding.withLock({ $0 }) { throw error }
  }

  private func read(_ files: [(path: String, information: FileInformation)]) {
    do throws(CorpusError) {
      for (path, information) in files {
        let found = try reading { () throws(FileError) in try fileDigest(path) }
        if found != information.sha256 {
          throw .wrongDigest(file: path, expected: information.sha256, found: found)
        }
      }
    } catch {
      finding.withLock { $0 = error }
      hasFinding.store(true, ordering: .releasing)
    }
  }
}
