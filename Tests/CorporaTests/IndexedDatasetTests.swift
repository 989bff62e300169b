import Corpora
import Foundation
import Testing

@Suite struct IndexedDatasetTests {
  /// Two documents: [[1, 2], [3]] and [[258]].
  static func write(_ scratch: Scratch, vocabularyCount: Int) throws -> ShardInformation {
    let writer = try IndexedDatasetWriter(prefix: scratch.path + "/s", vocabularyCount: vocabularyCount)
    try writer.append(lengths: [2, 1], tokens: [1, 2, 3])
    try writer.append(lengths: [1], tokens: [258])
    return try writer.finish(name: "s", split: .training)
  }

  /// The index of `write` as Megatron-LM lays it out, with the given token type and width; the last two rows are byte offsets
  /// and document bounds.
  static func goldenIndex(code: UInt8, width: UInt8) -> [UInt8] {
    [0x4D, 0x4D, 0x49, 0x44, 0x49, 0x44, 0x58, 0, 0]  // MMIDIDX
      + [1, 0, 0, 0, 0, 0, 0, 0]  // version
      + [code]
      + [3, 0, 0, 0, 0, 0, 0, 0]  // sequences
      + [3, 0, 0, 0, 0, 0, 0, 0]  // document bounds
      + [2, 0, 0, 0] + [1, 0, 0, 0] + [1, 0, 0, 0]  // lengths
      + [0, 0, 0, 0, 0, 0, 0, 0] + [2 * width, 0, 0, 0, 0, 0, 0, 0] + [3 * width, 0, 0, 0, 0, 0, 0, 0]
      + [0, 0, 0, 0, 0, 0, 0, 0] + [2, 0, 0, 0, 0, 0, 0, 0] + [3, 0, 0, 0, 0, 0, 0, 0]
  }

  @Test(arguments: [(65_535, IndexedDataset.TokenType.uint16), (65_536, .int32)])
  func goldenBytesAndRoundTrip(_ vocabularyCount: Int, _ type: IndexedDataset.TokenType) throws {
    let scratch = Scratch()
    let information = try Self.write(scratch, vocabularyCount: vocabularyCount)
    #expect(information.sequences == 3 && information.documents == 2 && information.tokens == 4)
    #expect(
      scratch.read("s.bin")
        == (type == .uint16
          ? [1, 0, 2, 0, 3, 0, 2, 1] : [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 0, 0]))
    #expect(
      scratch.read("s.idx") == Self.goldenIndex(code: type == .uint16 ? 8 : 4, width: type == .uint16 ? 2 : 4)
    )
    #expect(information.bin.bytes == 4 * type.width && information.idx.bytes == 34 + 36 + 24)

    let dataset = try IndexedDataset(prefix: scratch.path + "/s")
    #expect(dataset.tokenType == type && dataset.sequenceCount == 3 && dataset.documentCount == 2)
    #expect(try (0..<3).map { try dataset.tokens(of: $0) } == [[1, 2], [3], [258]])
    #expect((0..<2).map { dataset.sequences(of: $0) } == [0..<2, 2..<3])
    #expect(dataset.length(of: 0) == 2 && dataset.tokenCount == 4)
  }

  @Test func truncatedFilesAreNamed() throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    let (bin, idx) = (scratch.read("s.bin"), scratch.read("s.idx"))
    let prefix = scratch.path + "/s"
    for (content, found) in [(Array(bin.dropLast(3)), 5), (bin + [0, 0], 10), ([], 0)] {
      scratch.write("s.bin", content)
      let error = #expect(throws: CorpusError.self) { try IndexedDataset(prefix: prefix) }
      #expect(
        error?.description
          == "\(prefix).bin: has \(found) bytes instead of 8; it was truncated or changed, copy or build it again"
      )
    }
    scratch.write("s.bin", bin)
    for count in [0, 10, 33, 34, 60, idx.count - 1] {
      scratch.write("s.idx", Array(idx.prefix(count)))
      #expect(
        throws: CorpusError.wrongSize(
          file: prefix + ".idx", expected: count < 34 ? 34 : idx.count, found: count)
      ) {
        try IndexedDataset(prefix: prefix)
      }
    }
  }

  /// A byte of the golden index changed: where, to what, and what is said.
  @Test(
    arguments: [
      (0, 0x58, "it does not begin with MMIDIDX"),
      (9, 2, "its version is 2, not 1"),
      (37, 0x80, "sequence 0 has -2147483646 tokens"),
      (54, 3, "sequence 1 begins at byte 3 instead of 4"),
      (70, 1, "its documents begin at sequence 1 instead of 0"),
      (78, 5, "document bound 2 is 3, below 5"),
      (86, 2, "its documents end at sequence 2 instead of 3"),
      (25, 1, "it counts 72057594037927939 sequences and 3 document bounds"),
    ] as [(Int, UInt8, String)])
  func damagedIndices(_ place: Int, _ byte: UInt8, _ reason: String) throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    var idx = scratch.read("s.idx")
    idx[place] = byte
    let path = scratch.write("s.idx", idx)
    let error = #expect(throws: CorpusError.self) { try IndexedDataset(prefix: scratch.path + "/s") }
    #expect(
      error?.description == "\(path): is not a sound Megatron-LM index (\(reason)); copy or build it again")
  }

  @Test func otherTokenTypesAreRefused() throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    var idx = scratch.read("s.idx")
    idx[17] = 5
    let path = scratch.write("s.idx", idx)
    #expect(throws: CorpusError.unsupportedTokenType(file: path, code: 5)) {
      try IndexedDataset(prefix: scratch.path + "/s")
    }
  }

  @Test func emptySequencesAndMultimodalIndicesAreNamed() throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    let sound = scratch.read("s.idx")
    var idx = sound
    idx[38] = 0
    let path = scratch.write("s.idx", idx)
    #expect(throws: CorpusError.emptySequence(file: path, sequence: 1)) {
      try IndexedDataset(prefix: scratch.path + "/s")
    }
    scratch.write("s.idx", sound + [0, 1, 0])
    let error = #expect(throws: CorpusError.self) { try IndexedDataset(prefix: scratch.path + "/s") }
    #expect(
      error?.description
        == "\(path): is the index of a multimodal dataset (a mode for each sequence); only text can be read, tokenise it alone"
    )
  }

  /// Whatever stands in an index, opening it throws or gives a dataset whose tokens can be read.
  @Test func changedBytesNeverTrap() throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    let idx = scratch.read("s.idx")
    var opened = 0
    for place in idx.indices {
      for byte: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] where byte != idx[place] {
        var changed = idx
        changed[place] = byte
        scratch.write("s.idx", changed)
        guard let dataset = try? IndexedDataset(prefix: scratch.path + "/s") else { continue }
        opened += 1
        for document in 0..<dataset.documentCount {
          for sequence in dataset.sequences(of: document) { _ = try dataset.tokens(of: sequence) }
        }
      }
    }
    // The one bound between the documents may be another one.
    #expect(opened > 0 && opened < 10)
  }

  /// An index that is changed while it is open gives an error, not a trap.
  @Test func changesWhileOpenAreFound() throws {
    let scratch = Scratch()
    _ = try Self.write(scratch, vocabularyCount: 300)
    let path = scratch.path + "/s.idx"
    let dataset = try IndexedDataset(prefix: scratch.path + "/s")
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    for (place, bytes) in [(34, [0xFE, 0xFF, 0xFF, 0xFF]), (46, [0, 0, 0, 0, 0, 0, 0, 0x80]), (46, [9])] {
      let sound = scratch.read("s.idx")[place..<place + bytes.count]
      try file.seek(toOffset: UInt64(place))
      try file.write(contentsOf: Data(bytes.map { UInt8($0) }))
      #expect(throws: CorpusError.changedWhileOpen(file: path)) { try dataset.tokens(of: 0) }
      try file.seek(toOffset: UInt64(place))
      try file.write(contentsOf: Data(sound))
    }
    try file.seek(toOffset: 78)
    try file.write(contentsOf: Data([0xFF]))
    #expect(dataset.sequences(of: 0).isEmpty && dataset.sequences(of: 1).isEmpty)
  }

  @Test func existingFilesAreNotOverwritten() throws {
    let scratch = Scratch()
    let path = scratch.write("s.bin", "mine")
    #expect(throws: CorpusError.cannotWrite(file: path, reason: "File exists")) {
      try IndexedDatasetWriter(prefix: scratch.path + "/s", vocabularyCount: 10)
    }
    #expect(scratch.read("s.bin") == Array("mine".utf8))
  }
}
