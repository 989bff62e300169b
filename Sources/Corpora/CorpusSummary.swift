import DurableFiles

/// A corpus as text for people and as JSON for programs: `bipft corpus info`.
public struct CorpusSummary: Sendable {
  /// Above this share of [UNK] the vocabulary is taken not to know the text.
  private static let bearableUnknown = 0.05

  private let corpus: Corpus
  private let unknown: [CorpusSplit: Int]

  /// - Throws: what `Corpus.unknownTokens` throws, at the cost that it has.
  public init(_ corpus: Corpus) throws(CorpusError) {
    self.corpus = corpus
    var unknown: [CorpusSplit: Int] = [:]
    for split in CorpusSplit.allCases { unknown[split] = try corpus.unknownTokens(split) }
    self.unknown = unknown
  }

  /// What is wrong with the corpus though it can be trained on, a line each.
  public var warnings: [String] {
    CorpusSplit.allCases.compactMap { split in
      let tokens = CorpusDescription.Totals(corpus.shards(split)).tokens
      guard Double(unknown[split] ?? 0) > Self.bearableUnknown * Double(tokens) else { return nil }
      return
        "warning: \(unknownShare(split)) of the \(split.rawValue) tokens are [UNK]: the vocabulary does not know this text; "
        + "use one that was made for its language and script"
    }
  }

  private func unknownShare(_ split: CorpusSplit) -> String {
    percent(unknown[split] ?? 0, of: CorpusDescription.Totals(corpus.shards(split)).tokens)
  }

  /// A few lines: totals a split, vocabulary, digest.
  public var lines: [String] {
    CorpusSplit.allCases.map { split in
      let totals = CorpusDescription.Totals(corpus.shards(split))
      return
        "\(split.rawValue): \(totals.documents) documents, \(totals.sequences) sentences, \(totals.tokens) tokens "
        + "in \(totals.shards) shard\(totals.shards == 1 ? "" : "s")"
    } + [
      "vocabulary: \(corpus.vocabulary.count) tokens, SHA-256 \(corpus.vocabulary.digest)",
      "corpus.json: SHA-256 \(corpus.digest)",
      "unknown: "
        + CorpusSplit.allCases.map { "\(unknownShare($0)) of the \($0.rawValue) tokens" }.joined(
          separator: ", ") + " are [UNK]",
    ]
  }

  /// One line a shard, with a heading and the totals, in columns.
  public var table: [String] {
    let shards = corpus.description.shards
    let totals = corpus.description.totals
    let rows =
      [["shard", "split", "documents", "sentences", "tokens", "bytes", "SHA-256 of .bin", "SHA-256 of .idx"]]
      + shards.map { shard in
        [
          shard.name, shard.split.rawValue, "\(shard.documents)", "\(shard.sequences)", "\(shard.tokens)",
          "\(shard.bin.bytes + shard.idx.bytes)", "\(shard.bin.sha256.prefix(16))",
          "\(shard.idx.sha256.prefix(16))",
        ]
      }
      + [
        [
          "total", "", "\(totals.documents)", "\(totals.sequences)", "\(totals.tokens)",
          "\(shards.reduce(0) { $0 + $1.bin.bytes + $1.idx.bytes })", "", "",
        ]
      ]
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return (2...5).contains(column) ? space + row[column] : row[column] + space
      }
      return cells.joined(separator: "  ").replacing(#/ +$/#, with: "")
    }
  }

  /// The content of corpus.json with `directory` and `digest` added.
  public var json: String {
    struct Document: Encodable {
      let directory: String
      let digest: String
      let description: CorpusDescription

      enum CodingKeys: CodingKey { case directory, digest }

      func encode(to encoder: any Encoder) throws {
        try description.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(directory, forKey: .directory)
        try container.encode(digest, forKey: .digest)
      }
    }
    let document = Document(
      directory: corpus.directory, digest: corpus.digest, description: corpus.description)
    return String(decoding: encodeJSON(document).dropLast(), as: UTF8.self)
  }
}
