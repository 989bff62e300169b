#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Memory that is zero at first, aligned to 64 bytes. Large blocks are pages of their own, which take no physical memory
/// until they are written.
struct ZeroMemory {
  /// Blocks from this many bytes on are pages of their own.
  private static let pageThreshold = 1 << 18

  /// Blocks from this many bytes on ask for large pages.
  private static let largePageThreshold = 1 << 22

  let base: UnsafeMutableRawPointer
  let byteCount: Int

  /// At least 64 bytes.
  init(byteCount: Int) {
    precondition(byteCount >= 0, "a block of \(byteCount) bytes")
    self.byteCount = max(64, byteCount)
    if self.byteCount >= Self.pageThreshold {
      let pages = mmap(
        nil, self.byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
      guard let pages, pages != MAP_FAILED else {
        Self.end(bytes: self.byteCount)
      }
      // Large pages where the system has them: fewer faults and fewer misses of the address translation.
      #if os(Linux)
        if self.byteCount >= Self.largePageThreshold { madvise(pages, self.byteCount, Int32(MADV_HUGEPAGE)) }
      #endif
      base = pages
    } else {
      base = .allocate(byteCount: self.byteCount, alignment: 64)
      base.initializeMemory(as: UInt8.self, repeating: 0, count: self.byteCount)
    }
  }

  /// Ends the process with a line: where the system gives no address space (a limit such as `ulimit -v`), nothing above could
  /// do more. The exit code asks for another start, which may find it, unless the block is larger
  /// than the machine's memory.
  private static func end(bytes: Int) -> Never {
    let reason = String(cString: strerror(errno))
    var line =
      "bipft: no memory for a block of \(bytes) bytes (\(reason)); more ranks or a smaller training.micro_batch take "
      + "less a rank, --dry-run says how much\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    exit(bytes / sysconf(Int32(_SC_PAGESIZE)) > sysconf(Int32(_SC_PHYS_PAGES)) ? 78 : 70)
  }

  func deallocate() {
    if byteCount >= Self.pageThreshold { munmap(base, byteCount) } else { base.deallocate() }
  }

  /// Gives the whole pages within the bytes `range` back; they are zero when read again. Small blocks keep theirs.
  func release(bytes range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "bytes \(range) of \(byteCount)")
    guard byteCount >= Self.pageThreshold else { return }
    let page = sysconf(Int32(_SC_PAGESIZE))
    let first = (range.lowerBound + page - 1) / page * page
    let last = range.upperBound / page * page
    if first < last { madvise(base + first, last - first, Int32(MADV_DONTNEED)) }
  }

  /// Keeps the system from backing the whole pages within the bytes `range` with large ones, of which one written byte
  /// takes all. Small blocks have none.
  func useSmallPages(bytes range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "bytes \(range) of \(byteCount)")
    guard byteCount >= Self.pageThreshold else { return }
    let page = sysconf(Int32(_SC_PAGESIZE))
    let first = (range.lowerBound + page - 1) / page * page
    let last = range.upperBound / page * page
    #if os(Linux)
      if first < last { madvise(base + first, last - first, Int32(MADV_NOHUGEPAGE)) }
    #endif
  }
}
