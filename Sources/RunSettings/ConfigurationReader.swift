import BinaryModel
import DurableFiles
import Foundation
import Kernels
import Yams

extension RunConfiguration {
  /// Reads and checks a configuration file, then applies overrides of the form `KEY=VALUE`
  /// (`training.steps=100`), which are checked likewise.
  ///
  /// - Parameter isStored: see `parse`.
  /// - Throws: `ConfigurationError` with everything that is wrong.
  public static func load(
    file: String, isStored: Bool = false, overrides: [String] = []
  ) throws(ConfigurationError) -> RunConfiguration {
    try parse(text(ofFile: file), file: file, isStored: isStored, overrides: overrides)
  }

  /// The text of a configuration file.
  ///
  /// - Throws: `ConfigurationError` for what is no file, too large, or not UTF-8.
  public static func text(ofFile file: String) throws(ConfigurationError) -> String {
    func problem(_ message: String) -> ConfigurationError {
      ConfigurationError(problems: [
        ConfigurationProblem(place: .file(file, line: 0), key: "", message: message)
      ])
    }
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile(file) } catch {
      let isNoFile = error == .notAFile(path: file) || error.code == EISDIR
      let reason = isNoFile ? "is not a file" : error.reason
      throw problem("\(reason); --config wants a YAML file such as configs/demo.yaml")
    }
    guard bytes.count <= 1 << 20 else {
      throw problem(
        "\(bytes.count) bytes are no configuration; --config wants a YAML file such as configs/demo.yaml")
    }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) || bytes.contains(0) {
      throw problem("not UTF-8 text but UTF-16 or binary; save the file as UTF-8")
    }
    do {
      return String(copying: try UTF8Span(validating: bytes.span))
    } catch {
      throw problem("not UTF-8 text at byte \(error.byteOffsets.lowerBound); save the file as UTF-8")
    }
  }

  /// Reads and checks the text of a configuration file; `file` is its name in messages.
  ///
  /// - Parameters:
  ///   - base: gives the keys that the text leaves out; nil where it must have all that have no default.
  ///   - isStored: a run wrote it, perhaps of an earlier release: what is no longer there is passed over.
  /// - Throws: `ConfigurationError` with everything that is wrong.
  public static func parse(
    _ text: String, file: String, over base: RunConfiguration? = nil, isStored: Bool = false,
    overrides: [String] = []
  ) throws(ConfigurationError) -> RunConfiguration {
    var reader = ConfigurationReader(file: file, base: base ?? .unset)
    reader.isStored = isStored
    reader.read(text, overrides: overrides)
    if base == nil { reader.checkCompleteness() }
    reader.checkConsistency()
    guard reader.problems.isEmpty else { throw ConfigurationError(problems: reader.sortedProblems) }
    return reader.configuration
  }
}

/// Some keys of a configuration: what a file that leaves others out says, before it is known what gives those.
public struct GivenKeys: Sendable {
  private let values: RunConfiguration
  private let names: Set<String>

  /// Reads a text and overrides, each key by itself; `file` is the text's name in messages.
  ///
  /// - Throws: `ConfigurationError` with everything that is wrong.
  public init(_ text: String, file: String, overrides: [String]) throws(ConfigurationError) {
    var reader = ConfigurationReader(file: file, base: .unset)
    reader.read(text, overrides: overrides)
    guard reader.problems.isEmpty else { throw ConfigurationError(problems: reader.sortedProblems) }
    values = reader.configuration
    names = Set(reader.places.keys)
  }

  /// The value of the key called `name`, which `place` holds; nil where it is not given.
  public func value<Value>(_ name: String, _ place: KeyPath<RunConfiguration, Value>) -> Value? {
    names.contains(name) ? values[keyPath: place] : nil
  }

  /// The same of a key that may be null; nil for that too.
  public func value<Value>(_ name: String, _ place: KeyPath<RunConfiguration, Value?>) -> Value? {
    names.contains(name) ? values[keyPath: place] : nil
  }
}

/// The overrides that count: of several for one key the last, as launchers append theirs to what they are given.
private func lastOfEachKey(_ overrides: [String]) -> [String] {
  func key(_ override: String) -> Substring? { override.firstIndex(of: "=").map { override[..<$0] } }
  return overrides.indices.filter { index in
    guard let own = key(overrides[index]) else { return true }
    return !overrides[(index + 1)...].contains { key($0) == own }
  }.map { overrides[$0] }
}

/// The node of a YAML text. Its parser nests calls as the text nests, so text with more marks that may nest than any
/// configuration has is refused before.
private func composeShallow(_ text: String) throws -> Node? {
  let bytes = Array(text.utf8)
  let marks = bytes.indices.count { index in
    switch bytes[index] {
    case UInt8(ascii: "["), UInt8(ascii: "{"): true
    case UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"):
      index + 1 == bytes.count || [0x20, 0x09, 0x0A, 0x0D].contains(bytes[index + 1])
    default: false
    }
  }
  if marks > 2000 { throw DeepNesting() }
  return try compose(yaml: text)
}

private struct DeepNesting: Error {}

/// Collects the values of one file and its overrides, and every problem on the way.
private struct ConfigurationReader {
  let file: String
  /// Whether what earlier releases had is passed over.
  var isStored = false
  /// What was read so far, over what gives the rest.
  var configuration: RunConfiguration
  var problems: [ConfigurationProblem] = []
  /// Where each key, or section, was given, whether its value was good or not.
  var places: [String: ConfigurationProblem.Place] = [:]
  /// Keys and sections not to be missed, since a misspelling of them was reported or their file could not be read.
  var excused: Set<String> = []

  init(file: String, base: RunConfiguration) {
    self.file = file
    configuration = base
  }

  /// Problems of the file by line, then those of the overrides.
  var sortedProblems: [ConfigurationProblem] {
    func line(_ problem: ConfigurationProblem) -> Int {
      if case .file(_, let line) = problem.place { line } else { Int.max }
    }
    return problems.enumerated()
      .sorted { (line($0.element), $0.offset) < (line($1.element), $1.offset) }
      .map(\.element)
  }

  private mutating func report(_ place: ConfigurationProblem.Place, _ key: String, _ message: String) {
    problems.append(ConfigurationProblem(place: place, key: key, message: message))
  }

  // MARK: The file

  /// The text of the file, then the overrides.
  mutating func read(_ text: String, overrides: [String]) {
    // Some editors begin a file with a byte order mark.
    read(text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text)
    for override in lastOfEachKey(overrides) { apply(override) }
  }

  private mutating func read(_ text: String) {
    let root: Node?
    do {
      root = try composeShallow(text)
    } catch {
      excused = Set(ConfigurationKey.all.map(\.name))
      reportSyntax(error, text)
      return
    }
    guard case .mapping(let mapping)? = root else {
      excused = Set(ConfigurationKey.all.map(\.name))
      let found = root.map { describe($0) } ?? "nothing"
      report(
        .file(file, line: root?.mark?.line ?? 0), "", "expected keys and values as in seed: 1, found \(found)"
      )
      return
    }
    for (keyNode, value) in mapping {
      let name = keyNode.string ?? describe(keyNode)
      let place = ConfigurationProblem.Place.file(file, line: keyNode.mark?.line ?? 0)
      guard ConfigurationKey.sections.contains(name) else {
        take(name, value, place)
        continue
      }
      places[name] = place
      guard case .mapping(let section) = value else {
        excused.insert(name)
        report(place, name, "expected the keys \(keys(of: name)) below it, found \(describe(value))")
        continue
      }
      for (keyNode, value) in section {
        let leaf = keyNode.string ?? describe(keyNode)
        take("\(name).\(leaf)", value, .file(file, line: keyNode.mark?.line ?? 0))
      }
    }
  }

  private mutating func reportSyntax(_ error: any Error, _ text: String) {
    switch error {
    case YamlError.scanner(_, let problem, let mark, _), YamlError.parser(_, let problem, let mark, _),
      YamlError.composer(_, let problem, let mark, _):
      report(.file(file, line: mark.line), "", "not valid YAML in column \(mark.column): \(problem)")
    case YamlError.duplicatedKeysInMapping(let names, let context):
      // Yams gives the line of the first of the equal keys and its name without the section.
      let (mark, name) = (context.mark, names.first ?? "")
      let lines = text.split(omittingEmptySubsequences: false) { $0.isNewline }
      // A mapping in braces may stand in the line of its section.
      let section =
        mark.column == 1
        ? nil
        : lines.prefix(mark.line).last { $0.first.map { $0.isLetter } ?? false }
      let key = (section.map { $0.prefix { $0 != ":" } + "." } ?? "") + name
      let again = lines.indices.dropFirst(mark.line).first { index in
        let line = lines[index]
        guard line.prefix(while: { $0 == " " }).count == mark.column - 1 else { return false }
        let content = line.dropFirst(mark.column - 1).drop { $0 == "\"" || $0 == "'" }
        let rest = content.dropFirst(name.count).drop { $0 == "\"" || $0 == "'" || $0 == " " }
        return content.hasPrefix(name) && rest.first == ":"
      }
      guard let again else {
        report(.file(file, line: mark.line), key, "given more than once; keep one")
        return
      }
      reportRepeated(key, .file(file, line: again + 1), first: mark.line)
    case is DeepNesting:
      report(
        .file(file, line: 0), "",
        "has more brackets, lists and keys than any configuration; nothing here nests deep")
    case YamlError.reader(let problem, _, _, _):
      report(.file(file, line: 0), "", "not valid YAML: \(problem)")
    default:
      report(.file(file, line: 0), "", "not valid YAML: \(error)")
    }
  }

  private mutating func reportRepeated(_ key: String, _ place: ConfigurationProblem.Place, first: Int) {
    report(place, key, "given in line \(first) already; keep one")
  }

  // MARK: One value

  private mutating func apply(_ override: String) {
    let place = ConfigurationProblem.Place.override(override)
    guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
      report(place, "", "expected KEY=VALUE, as in --set training.steps=100")
      return
    }
    let name = String(override[..<equals])
    if ConfigurationKey.sections.contains(name) {
      report(
        place, name,
        "is a section; set one of its keys \(keys(of: name)), as in \(name).\(firstKey(of: name))=…")
      return
    }
    do {
      let value = try composeShallow(String(override[override.index(after: equals)...]))
      take(name, value ?? Node(""), place)
    } catch {
      report(place, name, "the value is not valid YAML; put it in quotes")
    }
  }

  private mutating func take(_ name: String, _ value: Node, _ place: ConfigurationProblem.Place) {
    if let advice = RetiredSettings.advice(name, value.scalar?.string) {
      if !isStored { report(place, name, advice) }
      return
    }
    guard let key = ConfigurationKey.find(name) else {
      reportUnknown(name, place)
      return
    }
    if case .file(_, let first)? = places[name], case .file = place {
      reportRepeated(name, place, first: first)
      return
    }
    places[name] = place
    if case .scalar(let scalar) = value {
      let isPlain = scalar.style == .plain || scalar.style == .any
      if key.set(&configuration, ConfigurationScalar(text: scalar.string, isPlain: isPlain)) { return }
    }
    report(place, name, "expected \(key.allowed), found \(describe(value))")
  }

  private mutating func reportUnknown(_ name: String, _ place: ConfigurationProblem.Place) {
    if ConfigurationKey.leaf(of: name) == "<<" {
      report(place, name, "merge keys are not read; write the keys out")
      return
    }
    if let suggestion = ConfigurationKey.suggestion(for: name) {
      excused.insert(suggestion)
      report(place, name, "unknown key; did you mean \(suggestion)?")
      return
    }
    let section = name.firstIndex(of: ".").map { String(name[..<$0]) }
    if let section, ConfigurationKey.sections.contains(section) {
      report(place, name, "unknown key; those of \(section) are \(keys(of: section))")
    } else {
      let single = ConfigurationKey.all.filter { $0.section == nil }.map(\.name).joined(separator: ", ")
      let sections = ConfigurationKey.sections.joined(separator: ", ")
      report(place, name, "unknown key; there are \(single) and the sections \(sections)")
    }
  }

  // MARK: The whole

  mutating func checkCompleteness() {
    for section in ConfigurationKey.sections where places[section] == nil && !excused.contains(section) {
      let own = ConfigurationKey.all.filter { $0.section == section }
      guard own.contains(where: \.isRequired) else { continue }
      let names = own.map(\.name)
      guard names.allSatisfy({ places[$0] == nil && !excused.contains($0) }) else { continue }
      excused.insert(section)
      report(.file(file, line: 0), section, "missing; it has the keys \(keys(of: section))")
    }
    for key in ConfigurationKey.all where key.isRequired && places[key.name] == nil {
      let section = key.section ?? ""
      guard !excused.contains(key.name), !excused.contains(section) else { continue }
      report(places[section] ?? .file(file, line: 0), key.name, "missing; expected \(key.allowed)")
    }
  }

  /// Checks between keys, each of which is good by itself.
  mutating func checkConsistency() {
    guard problems.isEmpty else { return }
    let (model, data, training) = (configuration.model, configuration.data, configuration.training)
    if model.hiddenSize % model.heads != 0 {
      reportPair("model.hidden_size", "is not a multiple of", "model.heads")
    }
    if data.sequenceLength > model.maximumLength {
      reportPair("data.sequence_length", "is more than", "model.maximum_length")
    }
    if training.globalBatch % training.microBatch != 0 {
      reportPair("training.global_batch", "is not a multiple of", "training.micro_batch")
    }
    let (lanes, format) = (configuration.laneCount, configuration.gradientFormat)
    if lanes > format.largestLaneCount {
      report(
        cause("gradient_format", "training.global_batch"), "gradient_format",
        "\(format) adds up \(format.largestLaneCount) lanes at most, and training.global_batch / training.micro_batch is "
          + "\(lanes): set it to int32")
    }
    checkPrecision()
    checkLevels()
    checkDropout()
  }

  /// What stands for the loss of binarisation, or rounds gradients for binary weights, has no place without it.
  private mutating func checkPrecision() {
    let (model, precision) = (configuration.model, configuration.model.precision)
    func refuse(_ key: String, _ value: String, _ only: String, _ neutral: String) {
      report(
        cause(key, "model.precision"), key,
        "\(value) is for \(only); model.precision is \(precision.rawValue): set \(key) to \(neutral)")
    }
    if precision == .full {
      let only = "what binarisation throws away"
      if model.estimatorRank > 0 { refuse("model.estimator_rank", "\(model.estimatorRank)", only, "0") }
      if model.linearRank > 0 { refuse("model.linear_rank", "\(model.linearRank)", only, "0") }
    }
    if !precision.hasBinaryActivations {
      let only = "binary activations"
      if model.activationBits > 1 {
        refuse("model.activation_bits", "\(model.activationBits)", only, "1")
      }
      if model.feedForwardActivation != .gelu {
        refuse("model.ffn_activation", model.feedForwardActivation.rawValue, only, "gelu")
      }
    }
    if configuration.estimators.fit == .closedForm, model.estimatorRank == 0 {
      report(
        cause("estimators.fit", "model.estimator_rank"), "estimators.fit",
        "closed_form fits residual estimators; model.estimator_rank is 0, so there are none: set it to 1 or more, or "
          + "estimators.fit to gradient")
    }
    if configuration.estimators.perHead, model.estimatorRank == 0 {
      report(
        cause("estimators.per_head", "model.estimator_rank"), "estimators.per_head",
        "true is for residual estimators; model.estimator_rank is 0, so there are none: set it to 1 or more, or "
          + "estimators.per_head to false")
    }
    let rounding = configuration.training.backwardPrecision
    if precision != .binary, rounding != .float32 {
      refuse("training.backward_precision", rounding.rawValue, "binary weights", "float32")
    }
    if let rate = configuration.training.stepSizeLearningRate, !precision.hasBinaryActivations {
      refuse("training.step_size_learning_rate", JSONText.number(rate), "binary activations", "null")
    }
    if configuration.training.hiddenLoss != .mean, !configuration.hasTeacher {
      report(
        cause("training.hidden_loss", "teacher"), "training.hidden_loss",
        "\(configuration.training.hiddenLoss.rawValue) is of distances from a teacher, and there is none: set teacher, or "
          + "training.hidden_loss to mean")
    }
    if configuration.teacher != nil, configuration.task.teacher != nil {
      report(
        cause("teacher", "task.teacher"), "task.teacher",
        "is given beside teacher; a run has one teacher: set one of them to null")
    }
  }

  /// What is made for signs has no place where activations are more; and their sums are to be exact.
  private mutating func checkLevels() {
    guard problems.isEmpty else { return }
    let (model, bits) = (configuration.model, configuration.model.activationBits)
    let shape = configuration.modelConfiguration(vocabularySize: 1)
    guard shape.hasLevels else { return }
    let cause = bits > 1 ? "model.activation_bits" : "model.ffn_activation"
    let other = bits > 1 ? "\(bits)" : model.feedForwardActivation.rawValue
    func refuse(_ key: String, _ value: String, _ neutral: String) {
      report(
        self.cause(key, cause), key,
        "\(value) is for signs alone; \(cause) is \(other): set \(key) to \(neutral)")
    }
    if model.stepSizeFit != .published {
      refuse("model.step_size_fit", model.stepSizeFit.rawValue, StepSizeFit.published.rawValue)
    }
    if model.gradientWindow != .stepSize {
      refuse(
        "model.gradient_window", ConfigurationKey.find("model.gradient_window")!.text(configuration),
        "step_size")
    }
    if configuration.estimators.fit != .gradient {
      refuse("estimators.fit", configuration.estimators.fit.rawValue, EstimatorFit.gradient.rawValue)
    }
    func limit(_ key: String, _ value: Int, _ most: Int) {
      if value > most {
        report(
          self.cause(key, "model.activation_bits"), key,
          "\(value) is more than sums of \(bits)-bit activations are exact for: at most \(most), or set "
            + "model.activation_bits to less")
      }
    }
    let (signed, unsigned) = (shape.signedLevels, shape.unsignedLevels)
    limit("model.hidden_size", model.hiddenSize, signed.mostInputs)
    limit("model.intermediate_size", model.intermediateSize, signed.mostInputs)
    limit("model.hidden_size", shape.headSize, signed.mostTerms(with: signed))
    limit("model.maximum_length", model.maximumLength, signed.mostTerms(with: unsigned))
  }

  /// The numbers that dropout draws for the attention of one sample are counted in 32 bits.
  private mutating func checkDropout() {
    let (model, length) = (configuration.model, configuration.data.sequenceLength)
    guard model.dropout > 0, model.heads * length * ((length + 7) / 8) > Dropout.blockLimit else { return }
    let most = (1...length).last { model.heads * $0 * (($0 + 7) / 8) <= Dropout.blockLimit } ?? 0
    report(
      place(of: "data.sequence_length"), "data.sequence_length",
      "\(length) is more than dropout can serve with model.heads \(model.heads); at most \(most), or set model.dropout to 0"
    )
  }

  /// Two keys that do not fit each other.
  private mutating func reportPair(_ first: String, _ relation: String, _ second: String) {
    func value(_ name: String) -> String { ConfigurationKey.find(name)!.text(configuration) }
    report(cause(first, second), first, "\(value(first)) \(relation) \(second) \(value(second))")
  }

  /// Which of two places is to blame for keys that do not fit: that of the second key if only that was overridden, else that of
  /// the first.
  private func cause(_ first: String, _ second: String) -> ConfigurationProblem.Place {
    func isOverride(_ place: ConfigurationProblem.Place) -> Bool {
      if case .override = place { true } else { false }
    }
    let (firstPlace, secondPlace) = (place(of: first), place(of: second))
    return isOverride(secondPlace) && !isOverride(firstPlace) ? secondPlace : firstPlace
  }

  /// Where a key was given; the whole file for one that it leaves out.
  private func place(of key: String) -> ConfigurationProblem.Place { places[key] ?? .file(file, line: 0) }

  // MARK: Words

  private func keys(of section: String) -> String {
    ConfigurationKey.all.filter { $0.section == section }.map(\.leaf).joined(separator: ", ")
  }

  private func firstKey(of section: String) -> String {
    ConfigurationKey.all.first { $0.section == section }!.leaf
  }

  private func describe(_ node: Node) -> String {
    switch node {
    case .scalar(let scalar):
      let isPlain = scalar.style == .plain || scalar.style == .any
      if scalar.string.isEmpty, isPlain { return "nothing" }
      let text = scalar.string.count <= 100 ? scalar.string : scalar.string.prefix(100) + "…"
      return isPlain && !text.contains(where: \.isNewline) ? text : JSONText.quoted(text)
    case .sequence: return "a list"
    case .mapping: return "keys and values"
    case .alias: return "an alias"
    }
  }
}
