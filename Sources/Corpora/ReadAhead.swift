import Foundation

// Telling the system what will be read soon, so that it is in memory by then.

extension SampleSource {
  /// Asks the system to read the chunks of `ids` from the disk in the background. Of a second part from another document
  /// nothing is asked.
  ///
  /// - Cost: one system call a sample; waits for no disk.
  public func prefetch(_ ids: some Sequence<UInt64>) {
    for id in ids {
      // Advice only: what is wrong is found when the sample is made.
      if let (dataset, tokens) = try? chunk(of: id) { dataset.prefetch(tokens) }
    }
  }
}

extension IndexedDataset {
  /// Asks for tokens of the .bin file.
  func prefetch(_ tokens: Range<Int>) {
    bin.prefetch(tokens.lowerBound * tokenType.width..<tokens.upperBound * tokenType.width)
  }
}

extension MappedFile {
  /// Asks for the bytes of `range`.
  func prefetch(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "bytes \(range) of \(path)")
    let page = sysconf(Int32(_SC_PAGESIZE))
    let first = range.lowerBound / page * page
    // Advice only: what fails is read when it is needed.
    madvise(
      UnsafeMutableRawPointer(bitPattern: base)! + first, range.upperBound - first, Int32(MADV_WILLNEED))
  }
}
