import Foundation
import Tasks
import Testing

@Suite struct TaskDataTests {
  private let folder: Folder

  init() throws { folder = try Folder() }

  private func data(_ name: String) throws -> TaskData {
    try TaskData(try TaskDefinition.find(name), folder: folder.path)
  }

  private func error(_ body: () throws(TaskError) -> TaskData) -> TaskError? {
    do throws(TaskError) {
      _ = try body()
      return nil
    } catch {
      return error
    }
  }

  @Test func glueFilesAsTheyAre() throws {
    // Without a header, with a mark that may be missing; its test file has a header.
    try folder.write("CoLA/train.tsv", "gj04\t1\t\tWe went.\ncj99\t0\t*\tWent we \"the.\n")
    try folder.write("CoLA/dev.tsv", "gj04\t0\t*\tHe go.\n")
    let cola = try data("CoLA")
    #expect(cola.classes == ["0", "1"])
    #expect(cola.training.examples.map(\.texts) == [["We went."], ["Went we \"the."]])
    #expect(cola.training.examples.map(\.target) == [1, 0])
    let test = try folder.write("CoLA/test.tsv", "index\tsentence\n0\tBill fell.\n")
    #expect(try TaskData.texts(cola.task, path: test) == [["Bill fell."]])

    let header = "index\tsentence1\tsentence2\tgold_label\n"
    try folder.write(
      "MNLI/train.tsv", header + "0\ta \"q\tb\tneutral\r\n1\tc\t\"d\tcontradiction\r\n2\te\tf\tentailment\r\n"
    )
    try folder.write("MNLI/dev_matched.tsv", header + "0\ta\tb\tneutral\n")
    try folder.write("MNLI/dev_mismatched.tsv", header + "0\tc\td\tentailment\n1\tc\t\tneutral\n")
    let mnli = try data("mnli")
    #expect(mnli.classes == ["contradiction", "entailment", "neutral"])
    #expect(mnli.heldOut.map(\.suffix) == ["_matched", "_mismatched"])
    #expect(mnli.heldOut.map { $0.examples.map(\.target) } == [[2], [1, 2]])
    #expect(mnli.training.examples.map(\.texts) == [["a \"q", "b"], ["c", "\"d"], ["e", "f"]])
    #expect(mnli.notes.count == 1 && mnli.notes[0].contains("1 rows have an empty text"))

    try folder.write(
      "MRPC/train.tsv",
      "\u{FEFF}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\tA \"b\tC\r\n0\t7\t9\tD\tE\r\n")
    try folder.write("MRPC/dev.tsv", "\u{FEFF}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\ta\tb\n")
    #expect(try data("mrpc").training.examples.map(\.texts) == [["A \"b", "C"], ["D", "E"]])

    let questions = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    try folder.write("QQP/train.tsv", questions + "1\t1\t2\ta \"b\tb\"\t1\n2\t3\tbroken\n3\t4\t5\tc\td\t0\n")
    try folder.write("QQP/dev.tsv", questions + "1\t1\t2\ta\tb\t1\n")
    let qqp = try data("qqp")
    #expect(qqp.training.examples.map(\.texts) == [["a \"b", "b\""], ["c", "d"]])
    #expect(
      qqp.notes.count == 1
        && qqp.notes[0].contains("1 rows with too few fields are left out, the first in line 3"))

    // Of what is to be predicted no row is left out: the others would get other numbers.
    let ask = try folder.write("QQP/test.tsv", "id\tquestion1\tquestion2\n0\ta\tb\n1\tc\n")
    #expect(throws: TaskError.fieldCount(path: ask, line: 3, found: 2, expected: 3)) {
      try TaskData.texts(qqp.task, path: ask)
    }

    try folder.write("STS-B/train.tsv", "sentence1\tsentence2\tscore\na\tb\t5.000\nc\td\t0.25\n")
    try folder.write("STS-B/dev.tsv", "sentence1\tsentence2\tscore\na\tb\t2\n")
    let stsb = try data("sts-b")
    #expect(stsb.classes.isEmpty && stsb.training.examples.map(\.target) == [5, 0.25])
  }

  @Test func predictionsHaveTheNamesOfGLUE() throws {
    func names(_ task: String, _ stems: String...) throws -> [String] {
      let definition = try TaskDefinition.find(task)
      return stems.map { definition.predictionName(of: $0) }
    }
    #expect(
      try names("mnli", "test_matched", "test_mismatched", "diagnostic", "mine")
        == ["MNLI-m", "MNLI-mm", "AX", "mine"])
    #expect(try names("mrpc", "test", "msr_paraphrase_test", "dev") == ["MRPC", "MRPC", "dev"])
    let all = try TaskDefinition.all.map { try names($0.name, "test")[0] }
    #expect(
      all == ["CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE", "WNLI"])
    let own = TaskDefinition(texts: ["t"], label: "l", isNumber: false)
    #expect(own.predictionName(of: "test") == "test")
  }

  @Test func someRowsOfAll() throws {
    try folder.write("train.csv", "t,l\na,x\nb,y\nc,z\n")
    try folder.write("dev.csv", "t,l\na,z\n")
    let data = try TaskData(
      TaskDefinition(texts: ["t"], label: "l", isNumber: false), folder: folder.path)
    let some = data.training(on: [0, 2])
    #expect(some.training.examples.map(\.texts) == [["a"], ["c"]] && some.classes == ["x", "y", "z"])
    #expect(some.notes.last?.contains("2 of 3 rows are trained on") == true)
  }

  @Test func ownTables() throws {
    try folder.write("train.csv", "review,stars\n\"good, really\",10\nbad,2\n")
    try folder.write("dev.jsonl", "{\"stars\": 2, \"review\": \"meh\"}\n")
    let task = TaskDefinition(texts: ["review"], label: "stars", isNumber: false)
    let data = try TaskData(task, folder: folder.path)
    // Whole numbers by size, not by their characters.
    #expect(data.classes == ["2", "10"])
    #expect(data.training.examples.map(\.target) == [1, 0] && data.heldOut[0].examples.map(\.target) == [0])
    let number = try TaskData(
      TaskDefinition(texts: ["review"], label: "stars", isNumber: true), folder: folder.path)
    #expect(number.training.examples.map(\.target) == [10, 2])
    #expect(number.digest != data.digest)
  }

  @Test func whatIsWrongIsNamed() throws {
    let (train, dev) = (folder.path + "/train.tsv", folder.path + "/dev.tsv")
    let task = TaskDefinition(texts: ["t"], label: "l", isNumber: false)
    func found(_ training: String, _ heldOut: String = "t\tl\na\tx\n", isNumber: Bool = false) throws
      -> TaskError?
    {
      try folder.write("train.tsv", training)
      try folder.write("dev.tsv", heldOut)
      let task = isNumber ? TaskDefinition(texts: ["t"], label: "l", isNumber: true) : task
      return error { () throws(TaskError) in try TaskData(task, folder: folder.path) }
    }
    #expect(try found("t\tl\na\tx\nb\t\n") == .emptyLabel(path: train, line: 3, column: "l"))
    #expect(try found("t\tl\na\tx\nb\tx\n") == .oneClass(path: train, column: "l", label: "x"))
    #expect(
      try found("t\tl\na\tx\nb\ty\n", "t\tl\na\tz\n")
        == .unknownLabel(path: dev, line: 2, column: "l", label: "z", known: ["x", "y"]))
    for text in ["nan", "inf", "0x1", "1,5", "x"] {
      #expect(
        try found("t\tl\na\t1\nb\t\(text)\n", "t\tl\na\t1\n", isNumber: true)
          == .notANumber(path: train, line: 3, column: "l", text: text))
    }
    #expect(
      try found("t\tl\na\t1\nb\t1e99\n", isNumber: true)
        == .notANumber(path: train, line: 3, column: "l", text: "1e99"))
    let many = (0...TaskData.classLimit).map { "a\tclass\($0)\n" }.joined()
    #expect(
      try found("t\tl\n" + many)
        == .tooManyClasses(
          path: train, column: "l", count: TaskData.classLimit + 1, limit: TaskData.classLimit))
    try folder.write("train.csv", "t,l\na,x\n")
    #expect(
      error { () throws(TaskError) in try TaskData(task, folder: folder.path) }
        == .severalFiles(folder: folder.path, names: ["train.tsv", "train.csv"]))
    #expect(
      error { () throws(TaskError) in try TaskData(try TaskDefinition.find("rte"), folder: "/nonexistent") }?
        .description.contains("No such file") == true)
    #expect(throws: TaskError.self) { try TaskDefinition.find("sst3") }
  }
}
