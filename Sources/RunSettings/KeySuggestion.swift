extension ConfigurationKey {
  /// The key or section that `name` most likely means: the one whose last part takes the fewest edits, where
  /// another section counts as one. Nil if nothing is close.
  ///
  /// - Parameter others: names that may be meant besides.
  static func suggestion(for name: String, or others: [String] = []) -> String? {
    let wanted = leaf(of: name)
    let limit = min(3, (wanted.count + 1) / 2)
    var best: (name: String, distance: Int)?
    for candidate in all.map(\.name) + sections + others where candidate != name {
      let isSameSection = candidate.dropLast(leaf(of: candidate).count) == name.dropLast(wanted.count)
      let distance = editDistance(wanted, leaf(of: candidate)) + (isSameSection ? 0 : 1)
      if distance <= limit, distance < best?.distance ?? Int.max { best = (candidate, distance) }
    }
    return best?.name
  }

  /// Insertions, deletions and replacements of characters from one string to the other (Levenshtein).
  ///
  /// - Cost: the product of both lengths.
  private static func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a), Array(b))
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let replaced = diagonal + (a[i] == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
      }
    }
    return row[b.count]
  }
}

extension RunConfiguration {
  /// Whether a configuration has the key `name`.
  public static func hasKey(_ name: String) -> Bool { ConfigurationKey.all.contains { $0.name == name } }

  /// The key, section or one of `others` that `name` most likely means: a few edits away, or one that begins with it. Nil if
  /// nothing is close.
  public static func suggestion(for name: String, or others: [String] = []) -> String? {
    ConfigurationKey.suggestion(for: name, or: others)
      ?? (others + ConfigurationKey.all.map(\.name)).first { $0.hasPrefix(name) }
  }
}
