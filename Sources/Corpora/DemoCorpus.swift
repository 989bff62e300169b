import DurableFiles

/// The corpus of the demo's configuration: how it is made of the bundled text, for `bipft corpus demo` and for
/// `bipft-pretrain` without arguments. Paths are relative to the folder of a clone.
public enum DemoCorpus {
  public static let directory = "corpus/demo"
  public static let text = "configs/demo-text/books.txt"
  static let vocabulary = "configs/vocab/vocab.txt"
  static let heldOut = 0.05
  /// What the corpus was made of: kept beside it, so that a corpus is reused only if all of that is the same.
  static let record = directory + ".inputs"

  /// Makes the corpus, in place of an older one of ours, unless one of the same inputs is there.
  ///
  /// - Returns: the corpus if it was made, nil if it was there.
  /// - Throws: `CorpusError`, also where something else lies in its place.
  /// - Cost: reads text and vocabulary; some seconds to make the corpus.
  public static func make(
    progress: (CorpusBuilder.Progress) -> Void = { _ in }, isInterrupted: () -> Bool = { false }
  ) throws(CorpusError) -> Corpus? {
    let wanted = try inputs()
    let found = try reading { () throws(FileError) in try readFileIfThere(record) }
    if fileExists(directory + "/" + CorpusDescription.fileName), found == wanted { return nil }
    if found != nil { try writing { () throws(FileError) in try removeFile(record) } }
    let corpus = try CorpusBuilder(
      inputs: [text], vocabulary: vocabulary, output: directory, heldOut: heldOut, overwrite: true
    ).build(progress: progress, isInterrupted: isInterrupted)
    try writing { () throws(FileError) in try replaceFile(record, with: wanted) }
    return corpus
  }

  /// The held-out share, and the digests of text and vocabulary as `sha256sum` writes them.
  private static func inputs() throws(CorpusError) -> [UInt8] {
    var lines = "held-out \(heldOut)\n"
    for file in [text, vocabulary] {
      let digest = try reading { () throws(FileError) in try fileDigest(file) }
      lines += "\(digest)  \(file)\n"
    }
    return Array(lines.utf8)
  }
}
