import DurableFiles

/// What can be wrong with the data of a task. Each description is one line: what, where, what to do.
public enum TaskError: Error, Equatable, CustomStringConvertible, Sendable {
  case unknownTask(String, known: [String])
  // Files.
  case file(FileError)
  case missingFile(folder: String, names: [String])
  case severalFiles(folder: String, names: [String])
  case unknownFormat(path: String)
  case notUTF8(path: String, line: Int)
  case noRows(path: String)
  // Columns.
  case missingColumn(path: String, line: Int, column: String, found: [String])
  case doubledColumn(path: String, line: Int, column: String)
  case fieldCount(path: String, line: Int, found: Int, expected: Int)
  /// A comma-separated file; `problem` says which rule of quotes is broken.
  case quoting(path: String, line: Int, problem: String)
  case notJSON(path: String, line: Int, problem: String)
  // Labels.
  case emptyLabel(path: String, line: Int, column: String)
  case unknownLabel(path: String, line: Int, column: String, label: String, known: [String])
  case notANumber(path: String, line: Int, column: String, text: String)
  case oneClass(path: String, column: String, label: String)
  case tooManyClasses(path: String, column: String, count: Int, limit: Int)

  public var description: String {
    switch self {
    case .unknownTask(let name, let known):
      "there is no task \(name); use \(known.joined(separator: ", "))"
    case .file(let error):
      "\(error.path): cannot be read (\(error.reason)); check the path and its permissions"
    case .missingFile(let folder, let names):
      "\(folder): holds no \(names.joined(separator: " or ")); give the folder of the task's files"
    case .severalFiles(let folder, let names):
      "\(folder): which of \(names.joined(separator: ", ")) is meant? Leave one of them there"
    case .unknownFormat(let path):
      "\(path): the name tells no format; let it end with .tsv, .csv or .jsonl"
    case .notUTF8(let path, let line):
      "\(path):\(line): not UTF-8; convert the file (iconv -t UTF-8) and try again"
    case .noRows(let path):
      "\(path): has no rows; give a file with a row for each text"
    case .missingColumn(let path, let line, let column, let found):
      "\(path):\(line): no column \(Self.shown(column)); there are \(Self.list(found)); name the right one, or mend the header"
    case .doubledColumn(let path, let line, let column):
      "\(path):\(line): two columns are called \(Self.shown(column)); rename one of them"
    case .fieldCount(let path, let line, let found, let expected):
      "\(path):\(line): \(found) \(found == 1 ? "field" : "fields"), the header has \(expected); mend the line "
        + "(in .tsv a tab always separates and quotes are plain characters; quoted fields are for .csv)"
    case .quoting(let path, let line, let problem):
      "\(path):\(line): \(problem); put the field in quotes and double the quotes in it, or save the table as .tsv"
    case .notJSON(let path, let line, let problem):
      "\(path):\(line): \(problem); each line is to be one object such as {\"text\": \"…\", \"label\": \"…\"}"
    case .emptyLabel(let path, let line, let column):
      "\(path):\(line): nothing in column \(Self.shown(column)); give the row a label, or take the row out"
    case .unknownLabel(let path, let line, let column, let label, let known):
      "\(path):\(line): the label \(Self.shown(label)) in column \(Self.shown(column)) is none of the training file's "
        + "(\(Self.list(known))); mend it, or add rows with it to the training file"
    case .notANumber(let path, let line, let column, let text):
      "\(path):\(line): \(Self.shown(text)) in column \(Self.shown(column)) is no finite number; mend it, or take the row out"
    case .oneClass(let path, let column, let label):
      "\(path): every row has the label \(Self.shown(label)) in column \(Self.shown(column)), so there is nothing to learn; "
        + "name the right column, or add rows of another class"
    case .tooManyClasses(let path, let column, let count, let limit):
      "\(path): \(count) different labels in column \(Self.shown(column)), at most \(limit) can be told apart; name the right "
        + "column, or say that it holds numbers"
    }
  }

  private static func shown(_ text: String) -> String {
    JSONText.quoted(text.count <= 60 ? text : text.prefix(60) + "…")
  }

  private static func list(_ names: [String]) -> String {
    let text = names.prefix(20).map(shown).joined(separator: ", ")
    return names.count <= 20 ? text : "\(text) and \(names.count - 20) more"
  }
}
