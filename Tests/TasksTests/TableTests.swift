import Foundation
import Tasks
import Testing

/// A folder that goes with its owner.
final class Folder {
  let path = FileManager.default.temporaryDirectory.path + "/bipft-tasks-\(UUID().uuidString)"

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  @discardableResult func write(_ name: String, _ text: String) throws -> String {
    let file = path + "/" + name
    try FileManager.default.createDirectory(
      atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    return file
  }
}

@Suite struct TableTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func rows(_ name: String, _ text: String, _ wanted: [String]) throws -> [Table.Row] {
    try Table(path: try folder.write(name, text), wanted: wanted).rows
  }

  private func error(_ name: String, _ text: String, _ wanted: [String]) throws -> TaskError? {
    let path = try folder.write(name, text)
    do throws(TaskError) {
      _ = try Table(path: path, wanted: wanted)
      return nil
    } catch {
      return error
    }
  }

  @Test func betweenTabsQuotesArePlain() throws {
    let found = try rows(
      "a.tsv", "\u{FEFF}text\tlabel\r\nsay \"no\t1\r\n\"a\" b\t0\r\n\r\n", ["label", "text"])
    #expect(found.map(\.fields) == [["1", "say \"no"], ["0", "\"a\" b"]])
    #expect(found.map(\.line) == [2, 3])
  }

  @Test func betweenCommasQuotesEnclose() throws {
    let found = try rows(
      "a.csv", "text,label\n\"a, \"\"b\"\"\nc\",1\nplain,\r\n,2\n\"\",3", ["text", "label"])
    #expect(found.map(\.fields) == [["a, \"b\"\nc", "1"], ["plain", ""], ["", "2"], ["", "3"]])
    #expect(found.map(\.line) == [2, 4, 5, 6])
  }

  @Test func marksAndCarriageReturnsCountForNothing() throws {
    let commas = try rows("m.csv", "\u{FEFF}text,label\r\n\"a\r\nb\",1\r\n\"\",2\r\n\r\n", ["text", "label"])
    // But within quotes they are text.
    #expect(commas.map(\.fields) == [["a\r\nb", "1"], ["", "2"]] && commas.map(\.line) == [2, 4])
    let objects = try rows(
      "m.jsonl", "\u{FEFF}{\"text\": \"a\", \"label\": 1}\r\n{\"text\": \"\", \"label\": 2}\r\n\r\n",
      ["text", "label"])
    #expect(objects.map(\.fields) == [["a", "1"], ["", "2"]])
  }

  @Test func ofObjectsNamedMembersAreRead() throws {
    let found = try rows(
      "a.jsonl",
      """
      {"text": "tab\\t here", "label": 1.50, "more": {"a": [1]}}
      {"label": true, "text": null}

      """, ["text", "label"])
    #expect(found.map(\.fields) == [["tab\t here", "1.50"], ["", "true"]])
  }

  @Test func whatIsWrongIsNamed() throws {
    let path = folder.path
    #expect(
      try error("a.tsv", "x\ty\na\tb\tc\n", ["x"])
        == .fieldCount(path: path + "/a.tsv", line: 2, found: 3, expected: 2))
    #expect(
      try error("b.tsv", "x\ty\na\tb\n\na\tb\n", ["x"])
        == .fieldCount(path: path + "/b.tsv", line: 3, found: 1, expected: 2))
    #expect(
      try error("c.tsv", "x\ty\na\tb\n", ["z"])
        == .missingColumn(path: path + "/c.tsv", line: 1, column: "z", found: ["x", "y"]))
    #expect(
      try error("d.tsv", "x\tx\na\tb\n", ["x"]) == .doubledColumn(path: path + "/d.tsv", line: 1, column: "x")
    )
    #expect(
      try error("d.csv", "x,y,x\na,b,c\n", ["x"])
        == .doubledColumn(path: path + "/d.csv", line: 1, column: "x"))
    // Of a column that nobody reads there may be two.
    #expect(try error("d2.csv", "x,y,y\na,b,c\n", ["x"]) == nil)
    #expect(
      try error("d3.csv", "x,y\na,b,c\n", ["x"])
        == .fieldCount(path: path + "/d3.csv", line: 2, found: 3, expected: 2))
    #expect(try error("e.tsv", "x\n", ["x"]) == .noRows(path: path + "/e.tsv"))
    #expect(try error("f.tsv", "", ["x"]) == .noRows(path: path + "/f.tsv"))
    #expect(try error("g.parquet", "x\n1\n", ["x"]) == .unknownFormat(path: path + "/g.parquet"))
    #expect(
      try error("a.csv", "x,y\na,\"b\nc\n", ["x"])
        == .quoting(path: path + "/a.csv", line: 2, problem: "a quote opens here and never closes"))
    #expect(
      try error("b.csv", "x,y\na,b\"c\n", ["x"])
        == .quoting(
          path: path + "/b.csv", line: 2, problem: "a quote stands within a field that has none around it"))
    #expect(
      try error("c.csv", "x,y\n\"a\"b,c\n", ["x"])
        == .quoting(path: path + "/c.csv", line: 2, problem: "text follows a closing quote"))
    #expect(
      try error("a.jsonl", "{\"x\": 1}\n{\"y\": 1}\n", ["x"])
        == .missingColumn(path: path + "/a.jsonl", line: 2, column: "x", found: ["y"]))
    #expect(
      try error("b.jsonl", "{\"x\": 1, \"x\": 2}\n", ["x"])
        == .doubledColumn(path: path + "/b.jsonl", line: 1, column: "x"))
    guard case .notJSON(_, 2, _)? = try error("c.jsonl", "{\"x\": 1}\n[1]\n", ["x"]) else {
      Issue.record("an array is no row")
      return
    }
    try Data([0x78, 0x0A, 0x61, 0xFF, 0x0A]).write(to: URL(fileURLWithPath: path + "/h.tsv"))
    #expect(throws: TaskError.notUTF8(path: path + "/h.tsv", line: 2)) {
      try Table(path: path + "/h.tsv", wanted: ["x"])
    }
    #expect(
      "\(TaskError.emptyLabel(path: "t.tsv", line: 3, column: "label"))"
        == "t.tsv:3: nothing in column \"label\"; give the row a label, or take the row out")
  }
}
