import DurableFiles

/// A corpus as text for people and as JSON for programs: `bipft corpus info`.
public struct CorpusSummary: Sendable {
  private let corpus: Corpus

  public init(_ corpus: Corpus) { self.corpus = corpus }

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
