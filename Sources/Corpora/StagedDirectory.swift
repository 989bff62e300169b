import DurableFiles
import Foundation

/// A folder that appears whole or not at all: filled under a hidden name beside its destination, then renamed.
///
/// Unless `commit` succeeds, `deinit` removes what was written.
final class StagedDirectory {
  /// Where the files are written until `commit`.
  let path: String
  private let destination: String
  private let parent: String
  /// The folders above the destination that were made for it, outermost first.
  private let createdParents: [String]
  private var isCommitted = false

  /// Creates the hidden folder, and those above the destination that are missing.
  ///
  /// - Throws: `cannotWrite`; where the destination exists and is not empty: `outputOccupied`,
  ///   and for a corpus `corpusExists` unless `overwrite`.
  init(for directory: String, overwrite: Bool) throws(CorpusError) {
    var given = directory
    while given.count > 1 && given.hasSuffix("/") { given.removeLast() }
    let url = URL(fileURLWithPath: given).standardizedFileURL.resolvingSymlinksInPath()
    destination = url.path
    parent = url.deletingLastPathComponent().path
    try Self.checkDestination(destination, shownAs: given, overwrite: overwrite)
    createdParents = try writing { [parent] () throws(FileError) in try createFolders(parent) }
    path = "\(parent)/.\(url.lastPathComponent).building-\(getpid())"
    guard mkdir(path, 0o755) == 0 else { throw .cannotWrite(file: path, reason: systemReason(errno)) }
  }

  deinit {
    guard !isCommitted else { return }
    try? removeFolder(path)
    for folder in createdParents.reversed() { rmdir(folder) }
  }

  /// Makes the folder appear at its destination, in place of an earlier corpus.
  ///
  /// - Throws: `cannotWrite`; the earlier corpus is then where it was.
  func commit() throws(CorpusError) {
    try writing { () throws(FileError) in try syncFolder(path) }
    let replaced = path + ".replaced"
    let replaces = fileExists(destination + "/" + CorpusDescription.fileName)
    if replaces { try move(destination, to: replaced) }
    do throws(CorpusError) {
      try move(path, to: destination)
    } catch {
      if replaces { try move(replaced, to: destination) }
      throw error
    }
    isCommitted = true
    try writing { () throws(FileError) in try syncFolder(parent) }
    if replaces { try? removeFolder(replaced) }
  }

  private func move(_ source: String, to target: String) throws(CorpusError) {
    guard rename(source, target) == 0 else {
      throw .cannotWrite(file: destination, reason: systemReason(errno))
    }
  }

  private static func checkDestination(
    _ destination: String, shownAs given: String, overwrite: Bool
  ) throws(CorpusError) {
    guard fileExists(destination) else { return }
    guard isFolder(destination) else {
      throw .outputOccupied(directory: given, entry: "it is not a folder")
    }
    let found = try reading { () throws(FileError) in try folderContents(destination) }
    guard let first = found.first else { return }
    let file = destination + "/" + CorpusDescription.fileName
    guard fileExists(file) else { throw .outputOccupied(directory: given, entry: first) }
    guard let description = try? CorpusDescription(parsing: readFile(file), file: file) else {
      throw .outputOccupied(directory: given, entry: CorpusDescription.fileName + " of something else")
    }
    let own = Set(description.fileNames)
    if let foreign = found.first(where: { !own.contains($0) }) {
      throw .outputOccupied(directory: given, entry: foreign)
    }
    if !overwrite { throw .corpusExists(directory: given) }
  }
}
