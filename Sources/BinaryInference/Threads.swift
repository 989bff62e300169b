// The one file of this module that starts threads.
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Does the pieces 0 ..< `pieces` of some work, each once, on the calling thread and up to `threads` − 1 others, which end with
/// the work. Each thread runs `body` once and takes pieces from `next` until it gives nil. What has no threads, or is refused
/// them, does all on the calling one.
func sharePieces(
  _ pieces: Int, threads: Int, _ body: @escaping @Sendable (_ next: () -> Int?) -> Void
) {
  #if canImport(Glibc) || canImport(Musl) || canImport(Darwin)
    let work = SharedWork(pieces: pieces, body)
    var started: [pthread_t] = []
    for _ in 1..<max(1, min(threads, pieces)) {
      guard let thread = work.start() else { break }
      started.append(thread)
    }
    work.run()
    for thread in started { pthread_join(thread, nil) }
  #else
    var piece = 0
    body {
      defer { piece += 1 }
      return piece < pieces ? piece : nil
    }
  #endif
}

#if canImport(Glibc) || canImport(Musl) || canImport(Darwin)
  /// Pieces of work that threads take one after the other.
  private final class SharedWork: @unchecked Sendable {
    private let body: @Sendable (_ next: () -> Int?) -> Void
    private let pieces: Int
    private var taken = 0
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    init(pieces: Int, _ body: @escaping @Sendable (_ next: () -> Int?) -> Void) {
      self.pieces = pieces
      self.body = body
      mutex = .allocate(capacity: 1)
      pthread_mutex_init(mutex, nil)
    }

    deinit {
      pthread_mutex_destroy(mutex)
      mutex.deallocate()
    }

    func run() { body { self.next() } }

    private func next() -> Int? {
      pthread_mutex_lock(mutex)
      defer { pthread_mutex_unlock(mutex) }
      if taken == pieces { return nil }
      defer { taken += 1 }
      return taken
    }

    /// A thread that runs this; nil if there can be none.
    func start() -> pthread_t? {
      #if canImport(Darwin)
        var thread: pthread_t?
      #else
        var thread = pthread_t()
      #endif
      let own = Unmanaged.passRetained(self)
      let status = pthread_create(
        &thread, nil,
        { work in
          #if canImport(Darwin)
            let pointer = work
          #else
            let pointer = work!
          #endif
          Unmanaged<SharedWork>.fromOpaque(pointer).takeRetainedValue().run()
          return nil
        }, own.toOpaque())
      if status != 0 {
        own.release()
        return nil
      }
      return thread
    }
  }
#endif
