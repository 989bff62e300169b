/// What a task is: which columns of which files hold texts and labels, what the labels are, and how a model is judged.
public struct TaskDefinition: Equatable, Sendable {
  /// What a label is.
  public enum Target: Equatable, Sendable {
    /// One of some names.
    case classes
    /// A number; what is written of predictions is kept within `range`, if there is one.
    case number(range: ClosedRange<Double>?)
  }

  /// Held-out rows: which files may hold them, and what follows the name of a metric of them.
  public struct HeldOut: Equatable, Sendable {
    public let files: [String]
    public let suffix: String
  }

  public let name: String
  /// The columns of one or two texts.
  public let texts: [String]
  public let label: String
  public let target: Target
  /// Names of a file that is one of these.
  public let training: [String]
  public let heldOut: [HeldOut]
  /// The first is what results are compared by.
  public let metrics: [Metric]
  /// The columns of training and held-out files that have no header.
  public let header: [String]?
  /// Rows that lack fields are left out and counted, as everyone who trains on these files does.
  public let leavesOutShortRows: Bool
  /// The folder of the task among others, and the name of its predictions in a submission.
  public let folder: String
  public let isBuiltIn: Bool

  private init(
    _ name: String, folder: String, texts: [String], label: String = "label", target: Target = .classes,
    training: [String] = ["train.tsv"], heldOut: [HeldOut] = [HeldOut(files: ["dev.tsv"], suffix: "")],
    metrics: [Metric], header: [String]? = nil, leavesOutShortRows: Bool = false
  ) {
    self.name = name
    self.folder = folder
    self.texts = texts
    self.label = label
    self.target = target
    self.training = training
    self.heldOut = heldOut
    self.metrics = metrics
    self.header = header
    self.leavesOutShortRows = leavesOutShortRows
    isBuiltIn = true
  }

  /// The tasks of GLUE (Wang et al. 2019), with the columns of its own files. Metrics are those of the benchmark; F1 is that
  /// of the second class.
  public static let all: [TaskDefinition] = [
    TaskDefinition(
      "cola", folder: "CoLA", texts: ["sentence"], metrics: [.matthews, .accuracy],
      header: ["source", "label", "mark", "sentence"]),
    TaskDefinition("sst2", folder: "SST-2", texts: ["sentence"], metrics: [.accuracy]),
    TaskDefinition(
      "mrpc", folder: "MRPC", texts: ["#1 String", "#2 String"], label: "Quality",
      training: ["train.tsv", "msr_paraphrase_train.txt"], metrics: [.accuracy, .f1]),
    TaskDefinition(
      "stsb", folder: "STS-B", texts: ["sentence1", "sentence2"], label: "score",
      target: .number(range: 0...5),
      metrics: [.pearson, .spearman]),
    TaskDefinition(
      "qqp", folder: "QQP", texts: ["question1", "question2"], label: "is_duplicate",
      metrics: [.accuracy, .f1],
      leavesOutShortRows: true),
    TaskDefinition(
      "mnli", folder: "MNLI", texts: ["sentence1", "sentence2"], label: "gold_label",
      heldOut: [
        HeldOut(files: ["dev_matched.tsv"], suffix: "_matched"),
        HeldOut(files: ["dev_mismatched.tsv"], suffix: "_mismatched"),
      ],
      metrics: [.accuracy]),
    TaskDefinition("qnli", folder: "QNLI", texts: ["question", "sentence"], metrics: [.accuracy]),
    TaskDefinition("rte", folder: "RTE", texts: ["sentence1", "sentence2"], metrics: [.accuracy]),
    TaskDefinition("wnli", folder: "WNLI", texts: ["sentence1", "sentence2"], metrics: [.accuracy]),
  ]

  /// The task called `name`, in capitals or not, with or without hyphens.
  ///
  /// - Throws: `TaskError.unknownTask`.
  public static func find(_ name: String) throws(TaskError) -> TaskDefinition {
    let plain = name.lowercased().filter { $0 != "-" }
    guard let task = all.first(where: { $0.name == plain }) else {
      throw .unknownTask(name, known: all.map(\.name))
    }
    return task
  }

  /// A task of one's own: `train` and `dev` in one folder, each as .tsv, .csv or .jsonl, with named columns.
  ///
  /// - Parameter isNumber: the labels are numbers, not names of classes.
  public init(texts: [String], label: String, isNumber: Bool) {
    precondition((1...2).contains(texts.count), "\(texts.count) texts of a row")
    name = "own"
    folder = ""
    self.texts = texts
    self.label = label
    target = isNumber ? .number(range: nil) : .classes
    training = Self.names("train")
    heldOut = [HeldOut(files: Self.names("dev"), suffix: "")]
    metrics = isNumber ? [.pearson, .spearman] : [.accuracy, .macroF1, .matthews]
    header = nil
    leavesOutShortRows = false
    isBuiltIn = false
  }

  /// The name of the predictions for a file called `stem`: that which GLUE wants for its test files (and for its diagnostic
  /// set, which has the classes of MNLI), else `stem`.
  public func predictionName(of stem: String) -> String {
    guard isBuiltIn else { return stem }
    if name == "mnli", stem.hasPrefix("diagnostic") { return "AX" }
    guard stem.hasPrefix("test") || stem.hasSuffix("_test") else { return stem }
    return folder + (stem.contains("mismatched") ? "-mm" : stem.contains("matched") ? "-m" : "")
  }

  private static func names(_ stem: String) -> [String] {
    ["tsv", "csv", "jsonl"].map { "\(stem).\($0)" }
  }
}
