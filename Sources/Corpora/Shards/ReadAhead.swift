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
