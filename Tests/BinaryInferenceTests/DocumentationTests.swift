import BinaryInference
import Foundation
import Testing

/// The examples of the documentation, compiled and run; and that they are those of the documentation, line by line.
struct DocumentationTests {
  private let fixture: PackedFixture
  init() throws { fixture = try PackedFixture(PackedFixture.small(rank: 1)) }

  private func packedModel(_ head: ModelHead) throws -> BinaryModel {
    try BinaryModel(path: fixture.packed(head: head))
  }

  /// Each example as it stands in the documentation, in a place where its names mean something.
  @Test func theExamplesRun() throws {
    let words: [Int32] = [7, 9, 8]
    try FileManager.default.copyItem(atPath: fixture.packed(head: .words), toPath: fixture.path("mine.bipft"))
    // swift-format-ignore: AlwaysUseLowerCamelCase
    func BinaryModel(path: String) throws -> BinaryModel { try .init(path: fixture.path(path)) }
    do {
      let model = try BinaryModel(path: "mine.bipft")
      let ids = [model.vocabulary.classification] + words + [model.vocabulary.separator]
      let vector = try model.embed(ids)
      #expect(vector.count == 24)
    }
    do {
      let model = try BinaryModel(path: "mine.bipft")
      let encoder = try TextEncoder(model.vocabulary)
      let vector = try model.embed(encoder.encode("The old king said nothing.").tokens)
      #expect(vector.count == 24)
    }
    for head in ModelHead.allCases {
      let model = try packedModel(head)
      let ids: [Int32] = [2, 4, 3]
      switch model.head {
      case .none: print(try model.embed(ids).count)
      case .words: print(try model.fillMask(ids, top: 3))
      case .classifier: print(try model.classify(ids))
      }
    }
    do {
      let model = try packedModel(.classifier)
      let ids = [Int32](repeating: 5, count: 13)
      do throws(BinaryModelError) {
        print(try model.embed(ids).count)
      } catch .tokenCount(let count, let limit) {
        print("\(count) tokens, at most \(limit)")
      } catch {
        print(error)
      }
    }
    do {
      let model = try packedModel(.classifier)
      let ids: [Int32] = [2, 5, 3]
      let answer = try model.classify(ids)
      print(answer.best?.label ?? "\(answer)")
    }
    do {
      let model = try BinaryModel(path: "mine.bipft")
      let encoder = try TextEncoder(model.vocabulary)
      let text = encoder.encode("The king [MASK].", "Nobody saw it.", limit: model.shape.maximumLength)
      let vector = try model.embed(text.tokens, segments: text.segments)
      let guesses = try model.fillMask(text.tokens, segments: text.segments, top: 5)
      let states = try model.encode(text.tokens, segments: text.segments)
      let vectors = try model.embed([[2, 5, 3], [2, 6, 7, 3]], threads: 2)
      #expect(vector.count == 24 && guesses.count == 1 && states.hiddenStates.count == 3)
      #expect(vectors.map(\.count) == [24, 24])
    }
  }

  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  /// Every block of code in the library's documentation stands above.
  @Test func theExamplesAreTheseOnes() throws {
    let folder = Self.root.appendingPathComponent("Sources/BinaryInference")
    let sources = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter {
      $0.hasSuffix(".swift")
    }
    var blocks = try fenced(folder.appendingPathComponent("BinaryInference.docc/BinaryInference.md"))
    for source in sources.sorted() { blocks += try inComments(folder.appendingPathComponent(source)) }
    blocks += try inLibrarySection(Self.root.appendingPathComponent("docs/inference.md"))
    #expect(blocks.count >= 6, "\(blocks)")
    let own = try plain(lines(URL(fileURLWithPath: #filePath)))
    for block in blocks {
      let isHere = own.indices.contains { own[$0...].starts(with: block) }
      #expect(isHere, "not compiled: \(block.joined(separator: "\n"))")
    }
  }

  /// Lines that say something, without indentation and with single spaces.
  private func plain(_ lines: some Sequence<Substring>) -> [String] {
    lines.map { $0.split(separator: " ").joined(separator: " ") }.filter { !$0.isEmpty }
  }

  private func lines(_ file: URL) throws -> [Substring] {
    try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
  }

  /// Blocks between ```swift and ```.
  private func fenced(_ file: URL) throws -> [[String]] {
    try String(contentsOf: file, encoding: .utf8).components(separatedBy: "```swift\n").dropFirst().map {
      plain($0.components(separatedBy: "```")[0].split(separator: "\n"))
    }
  }

  /// Blocks of lines that begin with `///     `.
  private func inComments(_ file: URL) throws -> [[String]] {
    var blocks: [[String]] = [[]]
    for line in try plain(lines(file).map { Substring($0.replacing("///     ", with: "//// ")) }) {
      if line.hasPrefix("//// ") {
        blocks[blocks.count - 1].append(String(line.dropFirst(5)))
      } else if !blocks[blocks.count - 1].isEmpty {
        blocks.append([])
      }
    }
    // Formulas are indented like code.
    return blocks.filter { $0.contains { $0.contains("try ") } }
  }

  /// The indented block of "## The library", without its import.
  private func inLibrarySection(_ file: URL) throws -> [[String]] {
    let text = try String(contentsOf: file, encoding: .utf8)
    let section = text.components(separatedBy: "\n## The library\n").dropFirst().first ?? ""
    let code = plain(
      section.components(separatedBy: "\n## ")[0].split(separator: "\n").filter { $0.hasPrefix("    ") })
    return [code.filter { !$0.hasPrefix("import ") }].filter { !$0.isEmpty }
  }
}
