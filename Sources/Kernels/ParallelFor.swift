import CBitKernels

/// Runs `body(index, worker)` for every index below `count` on this rank's threads; `worker` is below
/// `threadCount`. Bodies write disjoint memory, so the result does not depend on the number of threads. Loops of
/// several callers run one after the other. Not nested.
///
/// - Cost: a wake-up of the threads and two blocks of a few dozen bytes for the closure; neither with one thread.
public func parallelFor(_ count: Int, _ body: (_ index: Int, _ worker: Int) -> Void) {
  guard count > 0 else { return }
  if threadCount == 1 || count == 1 {
    for index in 0..<count { body(index, 0) }
    return
  }
  withoutActuallyEscaping(body) { escaping in
    var closure = escaping
    withUnsafeMutablePointer(to: &closure) { pointer in
      bk_parallel_for(
        count, { $0!.assumingMemoryBound(to: ((Int, Int) -> Void).self).pointee($1, $2) }, pointer)
    }
  }
}

/// Runs `body` on ranges that tile 0..<count, each `panel` long but the last: the fixed panels that make results
/// independent of the number of threads.
public func parallelPanels(_ count: Int, _ panel: Int, _ body: (_ range: Range<Int>, _ worker: Int) -> Void) {
  parallelFor((count + panel - 1) / panel) { index, worker in
    body(index * panel..<min(count, (index + 1) * panel), worker)
  }
}

/// The number of threads that parallel loops use, the calling one included.
public var threadCount: Int { bk_threads() }

/// Raises the number of threads to `count`; returns what could be had.
@discardableResult public func startThreads(_ count: Int) -> Int { bk_start_threads(count) }
