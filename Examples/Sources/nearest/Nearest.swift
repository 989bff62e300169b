import BinaryInference

/// `nearest MODEL`: which other line of standard input each line is nearest to in meaning, by the cosine of their vectors.
@main
struct Nearest {
  static func main() throws {
    guard CommandLine.arguments.count == 2 else {
      print("usage: nearest MODEL < lines.txt")
      return
    }
    let model = try BinaryModel(path: CommandLine.arguments[1])
    let encoder = try TextEncoder(model.vocabulary)
    var vectors: [[Float]] = []
    while let line = readLine() {
      vectors.append(try model.embed(encoder.encode(line, limit: model.shape.maximumLength).tokens))
    }
    for (line, vector) in vectors.enumerated() {
      let others = vectors.enumerated().filter { $0.offset != line }
      let cosines = others.map { (line: $0.offset, cosine: dot(vector, $0.element)) }
      guard let nearest = cosines.max(by: { $0.cosine < $1.cosine }) else { continue }
      print("line \(line + 1): nearest is line \(nearest.line + 1), cosine \(nearest.cosine)")
    }
  }

  /// Vectors of `embed` have length 1, so this is the cosine.
  private static func dot(_ a: [Float], _ b: [Float]) -> Float {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
  }
}
