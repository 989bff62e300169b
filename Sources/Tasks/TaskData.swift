import DurableFiles

/// The rows of a task that a model is trained on and judged by, and the names of its classes.
public struct TaskData: Sendable {
  /// One or two texts with what is right.
  public struct Example: Equatable, Sendable {
    public let texts: [String]
    /// The number of the class, or the number that the label is.
    public let target: Float
  }

  /// The rows of one file.
  public struct Part: Sendable {
    public let path: String
    public let examples: [Example]
    /// What follows the name of a metric of these rows.
    public let suffix: String
  }

  /// The most classes of a task.
  public static let classLimit = 1000

  public let task: TaskDefinition
  public private(set) var training: Part
  public let heldOut: [Part]
  /// The names of the classes, as they stand in the training file, in the order of their numbers: whole numbers by size, else
  /// by their bytes. Empty where labels are numbers.
  public let classes: [String]
  /// Of the files and of what is read of them.
  public let digest: String
  /// What a user should know of the rows: those left out, texts without a character.
  public private(set) var notes: [String]

  /// Reads the files of a task.
  ///
  /// - Parameter folder: holds the files, or the folder of the task (`SST-2`) that does.
  /// - Throws: `TaskError` with file, line and column.
  public init(_ task: TaskDefinition, folder: String) throws(TaskError) {
    self.task = task
    let folder = Self.files(of: task, in: folder)
    let trainingPath = try Self.find(
      task.training, in: folder, orBeginningWith: task.isBuiltIn ? "train" : nil)
    let trainingTable = try Self.table(task, trainingPath)
    var (paths, tables): ([String], [Table]) = ([], [])
    for part in task.heldOut {
      paths.append(try Self.find(part.files, in: folder, orBeginningWith: nil))
      tables.append(try Self.table(task, paths.last!))
    }
    let classes = task.target == .classes ? try Self.classes(trainingTable, task) : []
    training = Part(
      path: trainingPath, examples: try Self.examples(trainingTable, task, classes), suffix: "")
    var parts: [Part] = []
    for (part, table) in zip(task.heldOut, tables) {
      parts.append(
        Part(path: table.path, examples: try Self.examples(table, task, classes), suffix: part.suffix))
    }
    heldOut = parts
    self.classes = classes
    let read = ([trainingTable] + tables).map(\.digest) + task.texts + [task.label, "\(task.target)"]
    digest = SHA256.digest(Array(read.joined(separator: "\n").utf8))
    notes = ([trainingTable] + tables).flatMap { Self.notes($0, texts: task.texts.count) }
  }

  /// The same, to be trained on only the rows with these numbers, ascending; classes are still those of all.
  public func training(on rows: [Int]) -> TaskData {
    var data = self
    data.training = Part(
      path: training.path, examples: rows.map { training.examples[$0] }, suffix: training.suffix)
    data.notes.append(
      "\(training.path): \(rows.count) of \(training.examples.count) rows are trained on (task.training_rows)"
    )
    return data
  }

  /// The held-out rows of a task alone, for a model that knows its classes.
  ///
  /// - Parameters:
  ///   - folder: holds the files, or the folder of the task that does.
  ///   - classes: in the order of their numbers; none where labels are numbers.
  /// - Throws: `TaskError` with file, line and column.
  public static func heldOut(
    _ task: TaskDefinition, folder: String, classes: [String]
  ) throws(TaskError) -> [Part] {
    let folder = files(of: task, in: folder)
    var parts: [Part] = []
    for part in task.heldOut {
      let table = try table(task, find(part.files, in: folder, orBeginningWith: nil))
      parts.append(
        Part(path: table.path, examples: try examples(table, task, classes), suffix: part.suffix))
    }
    return parts
  }

  /// The folder that holds the files: that of the task where there is one.
  private static func files(of task: TaskDefinition, in folder: String) -> String {
    let inner = folder + "/" + task.folder
    return task.isBuiltIn && isFolder(inner) ? inner : folder
  }

  /// The texts of a file whose rows need no labels. None is left out, since predictions are numbered by their rows.
  ///
  /// - Throws: `TaskError` with file and line.
  public static func texts(_ task: TaskDefinition, path: String) throws(TaskError) -> [[String]] {
    try Table(path: path, wanted: task.texts, header: task.header).rows.map(\.fields)
  }

  private static func table(_ task: TaskDefinition, _ path: String) throws(TaskError) -> Table {
    try Table(
      path: path, wanted: task.texts + [task.label], header: task.header,
      leavesOutShortRows: task.leavesOutShortRows)
  }

  /// The one file that is there of `names`; else the only table whose name begins with `stem`.
  private static func find(
    _ names: [String], in folder: String, orBeginningWith stem: String?
  ) throws(TaskError) -> String {
    let contents: [String]
    do throws(FileError) { contents = try folderContents(folder) } catch { throw .file(error) }
    var found = names.filter(contents.contains)
    if found.isEmpty, let stem {
      found = contents.filter { $0.hasPrefix(stem) && TableFormat(path: $0) != nil }.sorted()
    }
    guard let name = found.first else { throw .missingFile(folder: folder, names: names) }
    guard found.count == 1 else { throw .severalFiles(folder: folder, names: found) }
    return folder + "/" + name
  }

  private static func classes(_ table: Table, _ task: TaskDefinition) throws(TaskError) -> [String] {
    let place = task.texts.count
    var names: Set<String> = []
    for row in table.rows {
      let label = row.fields[place]
      if label.isEmpty { throw .emptyLabel(path: table.path, line: row.line, column: task.label) }
      names.insert(label)
    }
    guard names.count <= classLimit else {
      throw .tooManyClasses(path: table.path, column: task.label, count: names.count, limit: classLimit)
    }
    guard names.count > 1 else {
      throw .oneClass(path: table.path, column: task.label, label: names.first ?? "")
    }
    let numbers = names.compactMap { name in Int(name).map { (name: name, number: $0) } }
    if numbers.count == names.count {
      return numbers.sorted { ($0.number, $0.name) < ($1.number, $1.name) }.map(\.name)
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  private static func examples(
    _ table: Table, _ task: TaskDefinition, _ classes: [String]
  ) throws(TaskError) -> [Example] {
    let place = task.texts.count
    let numbers = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
    var examples: [Example] = []
    examples.reserveCapacity(table.rows.count)
    for row in table.rows {
      let label = row.fields[place]
      if label.isEmpty { throw .emptyLabel(path: table.path, line: row.line, column: task.label) }
      let target: Float
      if case .number = task.target {
        // Float() also reads hexadecimal, infinities and NaN.
        guard label.utf8.allSatisfy({ "+-.0123456789eE".utf8.contains($0) }), let value = Float(label),
          value.isFinite
        else { throw .notANumber(path: table.path, line: row.line, column: task.label, text: label) }
        target = value
      } else {
        guard let number = numbers[label] else {
          throw .unknownLabel(
            path: table.path, line: row.line, column: task.label, label: label, known: classes)
        }
        target = Float(number)
      }
      examples.append(Example(texts: Array(row.fields[..<place]), target: target))
    }
    return examples
  }

  private static func notes(_ table: Table, texts: Int) -> [String] {
    var notes: [String] = []
    if let first = table.shortRows.first {
      notes.append(
        "\(table.path): \(table.shortRows.count) rows with too few fields are left out, the first in line \(first)"
      )
    }
    let empty = table.rows.filter { $0.fields[..<texts].contains("") }
    if let first = empty.first {
      notes.append(
        "\(table.path): \(empty.count) rows have an empty text and are taken as they are, the first in line \(first.line)"
      )
    }
    return notes
  }
}
