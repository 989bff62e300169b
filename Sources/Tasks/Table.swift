import DurableFiles

/// How the rows of a table stand in a file.
public enum TableFormat: Sendable {
  /// Fields between tabs, as they stand: quotes are plain characters (GLUE's files have unequal ones).
  case tabs
  /// Fields between commas; one with a comma, quote or line end stands in quotes, its quotes doubled (RFC 4180).
  case commas
  /// An object a line.
  case jsonLines

  /// By the end of the file's name; nil for an unknown one.
  public init?(path: String) {
    switch path.split(separator: ".").last?.lowercased() {
    case "tsv", "txt": self = .tabs
    case "csv": self = .commas
    case "jsonl", "ndjson": self = .jsonLines
    default: return nil
    }
  }
}

/// Some columns of a file of rows, as text.
public struct Table: Sendable {
  public struct Row: Equatable, Sendable {
    /// Where it begins, from 1.
    public let line: Int
    /// Of the wanted columns, in their order.
    public let fields: [String]
  }

  public let path: String
  public let rows: [Row]
  /// Rows left out since they are too short (`leavesOutShortRows`), by their lines.
  public let shortRows: [Int]
  /// SHA-256 of the file.
  public let digest: String

  /// Reads a table. A byte order mark, carriage returns before line feeds and empty lines at the end count for nothing.
  ///
  /// - Parameters:
  ///   - wanted: the names of the columns to read.
  ///   - header: the names of the columns of a file that has none; a first line that names all wanted columns counts as
  ///     a header all the same.
  ///   - leavesOutShortRows: of rows between tabs, those with fewer fields than the header are left out; else they are an
  ///     error.
  /// - Throws: `TaskError` with file and line.
  /// - Cost: memory for the file and for what is wanted of it.
  public init(
    path: String, wanted: [String], header: [String]? = nil, leavesOutShortRows: Bool = false
  ) throws(TaskError) {
    guard let format = TableFormat(path: path) else { throw .unknownFormat(path: path) }
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile(path) } catch { throw .file(error) }
    if let byte = Self.firstInvalidUTF8(bytes) {
      throw .notUTF8(path: path, line: 1 + bytes[..<byte].count { $0 == UInt8(ascii: "\n") })
    }
    self.path = path
    digest = SHA256.digest(bytes)
    let text = bytes[(bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0)...]
    switch format {
    case .jsonLines:
      rows = try Self.objects(text, path, wanted)
      shortRows = []
    case .tabs, .commas:
      let lines = format == .tabs ? Self.betweenTabs(text) : try Self.betweenCommas(text, path)
      (rows, shortRows) = try Self.select(
        lines, path, wanted, header: header, leavesOutShort: leavesOutShortRows && format == .tabs)
    }
    if rows.isEmpty { throw .noRows(path: path) }
  }

  private static func firstInvalidUTF8(_ bytes: [UInt8]) -> Int? {
    do {
      _ = try UTF8Span(validating: bytes.span)
      return nil
    } catch {
      return error.byteOffsets.lowerBound
    }
  }

  /// The lines of a text without their ends and without empty ones at the end, with their numbers.
  private static func lines(_ text: ArraySlice<UInt8>) -> [(line: Int, bytes: ArraySlice<UInt8>)] {
    var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .enumerated().map { index, bytes in
        (line: index + 1, bytes: bytes.last == UInt8(ascii: "\r") ? bytes.dropLast() : bytes)
      }
    while lines.last?.bytes.isEmpty == true { lines.removeLast() }
    return lines
  }

  private static func string(_ bytes: some Sequence<UInt8>) -> String {
    String(decoding: Array(bytes), as: UTF8.self)
  }

  // MARK: Fields between tabs or commas

  /// A row as it stands: all its fields.
  private typealias Fields = (line: Int, fields: [ArraySlice<UInt8>])

  private static func betweenTabs(_ text: ArraySlice<UInt8>) -> [Fields] {
    lines(text).map { line, bytes in
      (line, bytes.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false))
    }
  }

  private static func betweenCommas(_ text: ArraySlice<UInt8>, _ path: String) throws(TaskError) -> [Fields] {
    let (quote, comma, feed) = (UInt8(ascii: "\""), UInt8(ascii: ","), UInt8(ascii: "\n"))
    let bytes = Array(text)
    var rows: [Fields] = []
    var (fields, field): ([ArraySlice<UInt8>], [UInt8]) = ([], [])
    var (line, start, index) = (1, 1, 0)
    func isEnd(_ index: Int) -> Bool {
      index == bytes.count || bytes[index] == feed
        || (bytes[index] == UInt8(ascii: "\r") && (index + 1 == bytes.count || bytes[index + 1] == feed))
    }
    while index < bytes.count {
      if bytes[index] == quote {
        let opened = line
        index += 1
        while true {
          guard index < bytes.count else {
            throw .quoting(path: path, line: opened, problem: "a quote opens here and never closes")
          }
          if bytes[index] == quote {
            guard index + 1 < bytes.count, bytes[index + 1] == quote else { break }
            index += 1
          }
          if bytes[index] == feed { line += 1 }
          field.append(bytes[index])
          index += 1
        }
        index += 1
        guard isEnd(index) || bytes[index] == comma else {
          throw .quoting(path: path, line: line, problem: "text follows a closing quote")
        }
      } else {
        while !isEnd(index), bytes[index] != comma {
          if bytes[index] == quote {
            throw .quoting(
              path: path, line: line, problem: "a quote stands within a field that has none around it")
          }
          field.append(bytes[index])
          index += 1
        }
      }
      fields.append(field[...])
      field = []
      if index < bytes.count, bytes[index] == comma {
        index += 1
        // A comma at the end of a line is followed by an empty field.
        guard isEnd(index) else { continue }
        fields.append([])
      }
      rows.append((start, fields))
      fields = []
      if index < bytes.count, bytes[index] == UInt8(ascii: "\r") { index += 1 }
      index += 1
      line += 1
      start = line
    }
    while let last = rows.last, last.fields.count == 1, last.fields[0].isEmpty { rows.removeLast() }
    return rows
  }

  private static func select(
    _ all: [Fields], _ path: String, _ wanted: [String], header: [String]?, leavesOutShort: Bool
  ) throws(TaskError) -> (rows: [Row], short: [Int]) {
    guard let first = all.first else { throw .noRows(path: path) }
    let names = first.fields.map(string)
    let isHeader = header == nil || wanted.allSatisfy(names.contains)
    let columns = isHeader ? names : header!
    var places: [Int] = []
    for column in wanted {
      let found = columns.indices.filter { columns[$0] == column }
      guard let place = found.first else {
        throw .missingColumn(path: path, line: first.line, column: column, found: columns)
      }
      guard found.count == 1 else { throw .doubledColumn(path: path, line: first.line, column: column) }
      places.append(place)
    }
    var (rows, short): ([Row], [Int]) = ([], [])
    for (line, fields) in all.dropFirst(isHeader ? 1 : 0) {
      if fields.count < columns.count, leavesOutShort {
        short.append(line)
        continue
      }
      guard fields.count == columns.count else {
        throw .fieldCount(path: path, line: line, found: fields.count, expected: columns.count)
      }
      rows.append(Row(line: line, fields: places.map { string(fields[$0]) }))
    }
    return (rows, short)
  }

  // MARK: Objects

  private static func objects(
    _ text: ArraySlice<UInt8>, _ path: String, _ wanted: [String]
  ) throws(TaskError) -> [Row] {
    var rows: [Row] = []
    for (line, bytes) in lines(text) {
      var (values, names): ([String: String], [String]) = ([:], [])
      var doubled: String?
      do throws(JSONProblem) {
        try JSONReader.read(Array(bytes)) { reader throws(JSONProblem) in
          try reader.object { reader, name throws(JSONProblem) in
            names.append(name)
            guard wanted.contains(name) else { return try reader.skip() }
            if values[name] != nil { doubled = name }
            values[name] = try value(&reader)
          }
        }
      } catch {
        throw .notJSON(path: path, line: line, problem: error.text)
      }
      if let doubled { throw .doubledColumn(path: path, line: line, column: doubled) }
      var fields: [String] = []
      for column in wanted {
        guard let value = values[column] else {
          throw .missingColumn(path: path, line: line, column: column, found: names)
        }
        fields.append(value)
      }
      rows.append(Row(line: line, fields: fields))
    }
    return rows
  }

  /// A string, a number as it is written, true or false; nothing for null.
  private static func value(_ reader: inout JSONReader) throws(JSONProblem) -> String {
    switch try reader.scalar() {
    case .text(let text), .number(let text): text
    case .bool(let value): value ? "true" : "false"
    case .null: ""
    }
  }
}
