import Foundation

// Telling the system what will be read soon, so that it is in memory by then.

extension SampleSource {
  /// Asks the system to read the chunks of `ids` from the disk in the background. Of a second part from another document
  /// nothing is asked.
  ///
  /// - Cost: one system call a sample; waits for no disk.
  public func prefetch(_ ids: some Sequence<UInt64>) {
    for id in ids {
      let (dataset, sentences) = place(of: id)
      dataset.prefetch(sentences)
    }
  }
}

extension IndexedDataset {
  /// Asks for the tokens of `sequences`.
  func prefetch(_ sequences: Range<Int>) {
    guard !sequences.isEmpty else { return }
    let last = sequences.upperBound - 1
    bin.prefetch(
      byteOffset(of: sequences.lowerBound)..<byteOffset(of: last) + length(of: last) * tokenType.width)
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
