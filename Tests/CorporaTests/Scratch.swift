import Foundation

/// A folder for one test, removed afterwards.
final class Scratch {
  let path: String

  init() {
    path = NSTemporaryDirectory() + "/bipft-corpora-\(UUID().uuidString)"
    mkdir(path, 0o755)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file into the folder. Returns its path.
  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) -> String {
    _ = FileManager.default.createFile(atPath: "\(path)/\(name)", contents: Data(bytes))
    return "\(path)/\(name)"
  }

  @discardableResult
  func write(_ name: String, _ text: String) -> String { write(name, Array(text.utf8)) }

  /// Writes a vocabulary with the special tokens at BERT's ids, the other ids' tokens being `words`, then made-up ones.
  func writeVocabulary(count: Int, words: [String] = []) -> String {
    let special = [0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"]
    var words = words[...]
    let tokens = (0..<count).map { special[$0] ?? words.popFirst() ?? "[token \($0)]" }
    return write("tokens.txt", tokens.joined(separator: "\n") + "\n")
  }

  func read(_ name: String) -> [UInt8] {
    Array(FileManager.default.contents(atPath: "\(path)/\(name)") ?? Data())
  }

  /// The names in the folder, or in one below it.
  func names(_ folder: String = "") -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)")) ?? []).sorted()
  }
}

/// The package's own vocabulary.
let vocabularyPath =
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().path
  + "/configs/vocab/vocab.txt"
