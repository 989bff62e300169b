import DurableFiles
import Foundation

/// A folder of files that appears whole or not at all.
///
/// Where there is no folder, or a corpus that it replaces, it is filled under a hidden name beside its destination; then the
/// two change places in one step, so that a crash leaves the old or the new one there. An empty folder that exists stays the
/// folder that it is (a shell may stand in it): it is filled under a hidden name within, and the files move up, corpus.json
/// last, without which it is no corpus.
///
/// Unless `commit` succeeds, `deinit` removes what was written.
final class StagedDirectory {
  /// Where the files are written until `commit`.
  let path: String
  private let destination: String
  /// The folder that holds the hidden one.
  private let parent: String
  /// The folders above the destination that were made for it, outermost first.
  private let createdParents: [String]
  private let kind: Kind
  private var isCommitted = false
  /// Whether `commit` has put another folder in the place of the current one.
  private(set) var hasReplacedCurrentFolder = false

  private enum Kind {
    case new, inEmptyFolder, inPlaceOfCorpus
  }

  /// Creates the hidden folder, and those above the destination that are missing.
  ///
  /// - Throws: `cannotWrite`; where the destination exists and is not empty: `outputOccupied`,
  ///   and for a corpus `corpusExists` unless `overwrite`.
  init(for directory: String, overwrite: Bool) throws(CorpusError) {
    var given = directory
    while given.count > 1 && given.hasSuffix("/") { given.removeLast() }
    let url = URL(fileURLWithPath: given).standardizedFileURL.resolvingSymlinksInPath()
    destination = url.path
    let above = url.deletingLastPathComponent().path
    let hidden = ".\(url.lastPathComponent).building-\(getpid())"
    try Self.restore(destination)
    kind = try Self.checkDestination(destination, shownAs: given, overwrite: overwrite)
    parent = kind == .inEmptyFolder ? destination : above
    createdParents = try writing { () throws(FileError) in try createFolders(above) }
    path = joinPath(parent, hidden)
    try writing { [path] () throws(FileError) in try createFolder(path) }
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
    switch kind {
    case .new:
      try writing { () throws(FileError) in try moveFile(path, to: destination) }
      isCommitted = true
    case .inEmptyFolder:
      try moveUp()
    case .inPlaceOfCorpus:
      try exchange()
    }
    try writing { () throws(FileError) in try syncFolder(parent) }
  }

  /// Moves the files from the hidden folder into the one that holds it, corpus.json last.
  private func moveUp() throws(CorpusError) {
    var moved: [String] = []
    do throws(FileError) {
      let names = try folderContents(path).filter { $0 != CorpusDescription.fileName }
      for name in names {
        try moveFile(joinPath(path, name), to: joinPath(destination, name))
        moved.append(name)
      }
      try syncFolder(destination)
      try moveFile(
        joinPath(path, CorpusDescription.fileName), to: joinPath(destination, CorpusDescription.fileName))
    } catch {
      for name in moved { unlink(joinPath(destination, name)) }
      throw .cannotWrite(file: error.path, reason: error.reason)
    }
    isCommitted = true
    rmdir(path)
  }

  /// Gives the new folder the old one's name, and removes the old one.
  private func exchange() throws(CorpusError) {
    hasReplacedCurrentFolder = Self.isCurrentFolder(destination)
    var old = path
    if try writing({ () throws(FileError) in try !exchangeFiles(path, destination) }) {
      // A file system without exchange: two renames. What a crash between them leaves, the next build restores.
      old = Self.replacedName(of: destination)
      try writing { [old] () throws(FileError) in try moveFile(destination, to: old) }
      do throws(FileError) {
        try moveFile(path, to: destination)
      } catch {
        rename(old, destination)
        throw .cannotWrite(file: error.path, reason: error.reason)
      }
    }
    isCommitted = true
    // Relative paths of this process go on to mean the folder of that name.
    if hasReplacedCurrentFolder { chdir(destination) }
    try writing { () throws(FileError) in try syncFolder(parent) }
    try? removeFolder(old)
  }

  /// Where a file system without exchange keeps the old corpus for the moment.
  private static func replacedName(of destination: String) -> String {
    joinPath(parentFolder(of: destination), ".\(lastName(of: destination)).replaced")
  }

  /// Puts an old corpus back that a crash has left under its other name.
  private static func restore(_ destination: String) throws(CorpusError) {
    let replaced = replacedName(of: destination)
    guard fileExists(joinPath(replaced, CorpusDescription.fileName)) else { return }
    if fileExists(destination) {
      try? removeFolder(replaced)
    } else {
      try writing { () throws(FileError) in try moveFile(replaced, to: destination) }
    }
  }

  private static func isCurrentFolder(_ path: String) -> Bool {
    var (one, other) = (stat(), stat())
    return stat(path, &one) == 0 && stat(".", &other) == 0 && one.st_ino == other.st_ino
      && one.st_dev == other.st_dev
  }

  /// What systems leave in folders unasked.
  private static func isLitter(_ name: String) -> Bool {
    name == ".DS_Store" || name.hasPrefix("._") || name.hasPrefix(".nfs")
  }

  private static func checkDestination(
    _ destination: String, shownAs given: String, overwrite: Bool
  ) throws(CorpusError) -> Kind {
    guard fileExists(destination) else { return .new }
    guard isFolder(destination) else {
      throw .outputOccupied(directory: given, entry: "it is not a folder")
    }
    let found = try reading { () throws(FileError) in try folderContents(destination) }
      .filter { !isLitter($0) }
    guard let first = found.first else { return .inEmptyFolder }
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
    return .inPlaceOfCorpus
  }
}
