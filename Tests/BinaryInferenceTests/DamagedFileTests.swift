import BinaryInference
import BinaryModel
import FileFormats
import Foundation
import Mutations
import TensorFiles
import Testing

/// A file that is not whole is a typed error, never a crash or a read outside of it.
struct DamagedFileTests {
  let fixture: PackedFixture
  init() throws { fixture = try PackedFixture(PackedFixture.small(rank: 1)) }

  /// The error of a file with other tensors or metadata.
  private func error(
    head: ModelHead = .words, reals: PackedModelFormat.Reals = .float32,
    _ change: (inout [Tensor], inout [String: String]) -> Void
  ) throws -> BinaryModelError? {
    var (tensors, metadata) = try fixture.tensors(fixture.packed(head: head, reals: reals))
    change(&tensors, &metadata)
    let path = fixture.path("changed.bipft")
    try writeSafetensors(path: path, tensors: tensors, metadata: metadata)
    do throws(BinaryModelError) {
      _ = try BinaryModel(path: path)
      return nil
    } catch {
      #expect(!error.description.contains("\n"))
      return error
    }
  }

  @Test(arguments: [ModelHead.words, .classifier]) func everyMetadataKey(head: ModelHead) throws {
    let keys = try fixture.tensors(fixture.packed(head: head)).metadata.keys.sorted()
    #expect(keys.count > 20 && keys.contains("labels") == (head == .classifier))
    for key in keys {
      for value in [nil, "", "-1", "0x3", "+2", "99999999999999999999", "1e3", "25", "none "] {
        // The one that files may lack.
        if key == "sequence_length", value == nil { continue }
        let found = try error(head: head) { _, metadata in metadata[key] = value }
        #expect(found != nil, "\(key) = \(value ?? "nil")")
        switch key {
        case "format": #expect(found == .notAPackedModel)
        case "version": #expect(found == .otherVersion(found: value ?? "(none)", known: 3))
        case _ where found?.isOfMetadata(key) == true: break
        default: #expect(value == "25", "\(key) = \(value ?? "nil"): \(String(describing: found))")
        }
      }
    }
  }

  /// What files of models with more than signs have beside.
  @Test func metadataOfLevels() throws {
    let levels = try PackedFixture(PackedFixture.levels(8, .relu, rank: 1))
    let (tensors, metadata) = try levels.tensors(levels.packed())
    func error(_ key: String, _ value: String?) throws -> BinaryModelError? {
      var changed = metadata
      changed[key] = value
      let path = levels.path("changed.bipft")
      try writeSafetensors(path: path, tensors: tensors, metadata: changed)
      do throws(BinaryModelError) {
        _ = try BinaryModel(path: path)
        return nil
      } catch {
        #expect(!error.description.contains("\n"))
        return error
      }
    }
    #expect(try error("version", "3") == nil)
    for value in [nil, "", "0", "3", "16", "08", "-1"] {
      #expect(
        try error("activation_bits", value)?.isOfMetadata("activation_bits") == true, "\(value ?? "nil")")
    }
    for value in [nil, "", "tanh", "GELU"] {
      #expect(try error("ffn_activation", value)?.isOfMetadata("ffn_activation") == true, "\(value ?? "nil")")
    }
    // Sums of 8-bit integers that would not be exact.
    for (key, value) in [("maximum_length", "515"), ("intermediate_size", "65794"), ("hidden_size", "65796")]
    {
      #expect(try error(key, value)?.isOfMetadata(key) == true, "\(key)")
    }
    #expect(
      try error("version", "2") == .missingTensor("bert.encoder.layer.0.attention.self.query.thresholds"))
    for tensor in tensors where tensor.name.contains("layer.1.") {
      let path = levels.path("fewer.bipft")
      try writeSafetensors(
        path: path, tensors: tensors.filter { $0.name != tensor.name }, metadata: metadata)
      #expect(throws: BinaryModelError.self, "\(tensor.name)") { _ = try BinaryModel(path: path) }
    }
  }

  @Test func lengthThatFilesMayLack() throws {
    #expect(try error { _, metadata in metadata["sequence_length"] = nil } == nil)
  }

  @Test(arguments: [
    "[]x", "[\"a\"]", "[\"a\", \"b\"", "[\"a\", 1]", "{}", "null", "[\"\\ud800\", \"b\"]", "[\"a\",]",
    "[\"a\", \"b\", \"c\"] ,",
  ])
  func labels(text: String) throws {
    let found = try error(head: .classifier) { _, metadata in metadata["labels"] = text }
    #expect(found?.isOfMetadata("labels") == true, "\(String(describing: found))")
  }

  @Test func labelsThatDoNotFit() throws {
    for (text, outputs) in [("[]", 1), ("[\"a\", \"b\"]", 2)] {
      let found = try error(head: .classifier) { _, metadata in metadata["labels"] = text }
      #expect(
        found
          == .tensor(
            "classifier.weight", found: "F32 of [3, 24]", wanted: "F32 or F16 of [\(outputs), 24]"))
    }
  }

  @Test(arguments: [ModelHead.words, .classifier], [PackedModelFormat.Reals.float32, .int16])
  func everyTensor(head: ModelHead, reals: PackedModelFormat.Reals) throws {
    let names = try fixture.tensors(fixture.packed(head: head, reals: reals)).tensors.map(\.name)
    #expect(names.count > 80 && names.contains("classifier.weight") == (head == .classifier))
    for name in names {
      let missing = try error(head: head, reals: reals) { tensors, _ in tensors.removeAll { $0.name == name }
      }
      // The one that files may lack.
      #expect(missing == (name == "cls.seq_relationship.weight" ? nil : .missingTensor(name)))
      let longer = try error(head: head, reals: reals) { tensors, _ in
        let index = tensors.firstIndex { $0.name == name }!
        let old = tensors[index]
        tensors[index] = Tensor(
          name: name, type: .int8, shape: [old.bytes.count], bytes: old.bytes)
      }
      guard case .tensor(name, _, _) = longer else {
        Issue.record("\(name) of another type: \(String(describing: longer))")
        continue
      }
    }
  }

  @Test func wordsThatCannotBeReadInPlace() throws {
    let found = try error { tensors, _ in
      tensors.insert(Tensor(name: "a", type: .uint8, shape: [3], bytes: [1, 2, 3]), at: 0)
    }
    guard case .misaligned(_, _, 8) = found else {
      Issue.record("\(String(describing: found))")
      return
    }
  }

  @Test func thresholdExceptions() throws {
    func error(_ output: Int32, shape: [Int]) throws -> BinaryModelError? {
      try self.error { tensors, _ in
        let values: [Int32] = [5, 7, output, 7]
        // Before the first tensor of float32, which needs the same alignment.
        tensors.insert(
          Tensor(
            name: "bert.encoder.layer.1.attention.self.key.threshold_exceptions", type: .int32, shape: shape,
            bytes: values.withUnsafeBytes { Array($0) }),
          at: tensors.firstIndex { $0.type == .float32 }!)
      }
    }
    #expect(try error(23, shape: [2, 2]) == nil)
    for output: Int32 in [-1, 24, .max, .min] {
      guard case .tensor(_, "output \(output)", "0 to 23") = try error(output, shape: [2, 2]) else {
        Issue.record("output \(output) was taken")
        continue
      }
    }
    guard case .tensor = try error(5, shape: [4]) else {
      Issue.record("a list of another shape was taken")
      return
    }
  }

  @Test func vocabularies() throws {
    func problem(_ change: (inout [UInt8]) -> Void) throws -> BinaryModelError? {
      try error { tensors, _ in
        let index = tensors.firstIndex { $0.name == "vocabulary" }!
        var bytes = tensors[index].bytes
        change(&bytes)
        tensors[index] = Tensor(name: "vocabulary", type: .uint8, shape: [bytes.count], bytes: bytes)
      }
    }
    #expect(try problem { $0 = [] } == .vocabulary("it does not end with a line feed"))
    #expect(try problem { $0.removeLast() } == .vocabulary("it does not end with a line feed"))
    #expect(try problem { $0 += Array("more\n".utf8) } == .vocabulary("it has 41 tokens, the model 40"))
    #expect(try problem { $0[1] = UInt8(ascii: "p") } == .vocabulary("it has no token [PAD]"))
    #expect(try problem { $0[1] = 0xFF } == .vocabulary("byte 1 is not UTF-8"))
  }

  @Test func filesThatAreNone() throws {
    #expect(throws: BinaryModelError.cannotRead(reason: "No such file or directory")) {
      try BinaryModel(path: fixture.path("none"))
    }
    #expect(throws: BinaryModelError.cannotRead(reason: "not a regular file")) {
      try BinaryModel(path: "/")
    }
    #expect(throws: BinaryModelError.header(.tooShort(size: 0))) { try BinaryModel(bytes: []) }
    #expect(throws: BinaryModelError.notAPackedModel) {
      try BinaryModel(path: fixture.path("model.safetensors"))
    }
  }

  @Test func truncated() throws {
    let bytes = try fixture.bytes()
    for count in Array(0..<200) + Array(stride(from: 200, to: bytes.count, by: 97)) + [bytes.count - 1] {
      #expect(throws: BinaryModelError.self, "\(count) bytes") {
        try BinaryModel(bytes: Array(bytes[..<count]))
      }
    }
  }

  /// Damaged headers and whole files: refused, or a model that answers whatever it answers.
  @Test(arguments: [ModelHead.words, .classifier]) func mutants(head: ModelHead) throws {
    let bytes = try fixture.bytes(head: head, reals: .float16)
    let length = Int(UInt64(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }))
    var (refused, taken) = (0, 0)
    func look(_ mutant: [UInt8]) {
      guard let model = try? BinaryModel(bytes: mutant) else {
        refused += 1
        return
      }
      taken += 1
      let tokens: [Int32] = [2, 5, 4, 3].map { min($0, Int32(model.shape.vocabularySize - 1)) }
      _ = try? model.encode(tokens)
      _ = try? model.fillMask(tokens, top: 3)
      _ = try? model.classify(tokens)
    }
    Mutations.of(bytes, count: 400, name: "packed model \(head.rawValue)") { mutant, _ in look(mutant) }
    let header = Array(bytes[8..<8 + length])
    Mutations.of(header, count: 1600, name: "packed header \(head.rawValue)") { mutant, _ in
      let size = withUnsafeBytes(of: UInt64(mutant.count).littleEndian) { Array($0) }
      look(size + mutant + bytes[(8 + length)...])
    }
    // One bit of the header at a time.
    var mutations = Mutations("header bits \(head.rawValue)")
    for _ in 0..<800 * Mutations.rounds {
      var mutant = bytes
      mutant[mutations.below(8 + length)] ^= 1 << UInt8(mutations.below(8))
      look(mutant)
    }
    #expect(refused > 1000 && taken > 10, "\(refused) refused, \(taken) taken")
  }
}

extension BinaryModelError {
  fileprivate func isOfMetadata(_ key: String) -> Bool {
    if case .metadata(key, _, _) = self { true } else { false }
  }
}
