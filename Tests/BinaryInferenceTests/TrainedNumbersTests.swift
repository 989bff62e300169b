import BinaryInference
import BinaryModel
import FileFormats
import Foundation
import Kernels
import TensorFiles
import Testing

/// A packed model against the model that training evaluates. Serialized: they choose the instruction set of all kernels.
@Suite(.serialized) struct TrainedNumbersTests {
  /// Hidden states, the pooled output and the logits of words are the same bits, with every instruction set.
  @Test(arguments: [
    PackedFixture.small(rank: 0), PackedFixture.wide(rank: 0), PackedFixture.small(rank: 1),
    PackedFixture.small(rank: 3), PackedFixture.wide(rank: 1),
  ])
  func sameBitsAsTrained(configuration: ModelConfiguration) throws {
    let fixture = try PackedFixture(configuration)
    try compare(fixture, fixture.packed())
  }

  /// The same where activations are more than signs.
  @Test(arguments: [
    PackedFixture.levels(1, .relu, rank: 1), PackedFixture.levels(2, .gelu, rank: 0),
    PackedFixture.levels(2, .relu, rank: 1), PackedFixture.levels(4, .gelu, rank: 1),
    PackedFixture.levels(8, .relu, rank: 3), PackedFixture.levels(8, .gelu, rank: 0, isWide: true),
    PackedFixture.levels(1, .relu, rank: 0, isWide: true),
    PackedFixture.levels(2, .relu, rank: 1, isWide: true),
    PackedFixture.levels(4, .relu, rank: 2, isWide: true),
  ])
  func sameBitsAsTrainedWithLevels(configuration: ModelConfiguration) throws {
    let fixture = try PackedFixture(configuration)
    let metadata = try fixture.tensors(fixture.packed()).metadata
    #expect(metadata["version"] == "3" && metadata["activation_bits"] == "\(configuration.activationBits)")
    try compare(fixture, fixture.packed())
  }

  /// Shifts that gelu reaches where rounding moves it up and down: two thresholds do not tell all bits.
  @Test func bitsThatThresholdsDoNotTell() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 0)) { name, values in
      if name.hasSuffix("intermediate.dense.input_clip_val") { values.fill(0.005) }
      if name.hasSuffix("intermediate.dense.bias") { values.fill(-5.2) }
      guard name.hasSuffix(".output.dense.move.bias"), !name.contains("attention") else { return }
      for index in 0..<values.count { values[index] = 1e-7 + 5e-9 * Float(index) }
    }
    let exceptions = try fixture.tensors(fixture.packed()).tensors.filter {
      $0.name.hasSuffix(".threshold_exceptions")
    }
    #expect(!exceptions.isEmpty)
    try compare(fixture, fixture.packed())
  }

  /// A file of version 1 gives what one of version 2 gives.
  @Test(arguments: [PackedFixture.small(rank: 0), PackedFixture.wide(rank: 0)])
  func version1BitForBit(configuration: ModelConfiguration) throws {
    let fixture = try PackedFixture(configuration)
    try compare(fixture, fixture.packedVersion1())
    // In float16 the thresholds of version 2 are those of the float32 numbers.
    _ = try BinaryModel(path: fixture.packedVersion1(reals: .float16)).encode(fixture.sequence(0).tokens)
  }

  private func compare(_ fixture: PackedFixture, _ path: String) throws {
    let configuration = fixture.configuration
    let (width, length) = (configuration.hiddenSize, fixture.batch.length)
    let before = InstructionSet.name
    defer { try? InstructionSet.select(before) }
    for name in InstructionSet.available {
      try InstructionSet.select(name)
      var trained = PretrainingModel(
        fixture.layout, sequences: fixture.batch.sequences, length: fixture.batch.length)
      trained.binarise(fixture.parameters.view)
      let model = try BinaryModel(path: path, instructionSet: name)
      #expect(model.instructionSet == name)
      for index in 0..<fixture.batch.sequences {
        let (tokens, segments) = fixture.sequence(index)
        let packed = try model.encode(tokens, segments: segments)
        let output = trained.encode(fixture.parameters.view, fixture.batch)
        try #require(packed.hiddenStates.count == output.hidden.count)
        for (state, expected) in zip(packed.hiddenStates, output.hidden) {
          let start = index * length * width
          #expect(
            state.bits == expected[start..<start + tokens.count * width].array.bits,
            "\(name), sequence \(index) of \(tokens.count) tokens")
        }
        #expect(packed.pooled.bits == output.pooled[rows: index..<index + 1].dense.array.bits)
        let positions = [0, tokens.count / 2, tokens.count - 1]
        let pretraining = try model.pretrainingLogits(tokens, segments: segments, at: positions)
        let logits = pretraining.words
        #expect(try model.wordLogits(tokens, segments: segments, at: positions) == logits)
        let following = trained.nextSentenceLogits(fixture.parameters.view, output)
        #expect(pretraining.nextSentence?.bits == Array(following[2 * index..<2 * index + 2]).bits)
        for (own, position) in zip(logits, positions) {
          let expected = trained.wordLogits(
            fixture.parameters.view, output, token: index * length + position)
          #expect(own.bits == expected.bits, "\(name): off by \(own.distance(expected))")
        }
      }
    }
  }

  /// A classifier, and a regression, give what training's evaluation gives.
  @Test func classifiers() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 1))
    let labels = ["no", "yes", "perhaps"]
    let classes = try outputs(fixture, Classification(classes: 3))
    let model = try BinaryModel(
      path: fixture.packed(head: .classifier, labels: labels), instructionSet: InstructionSet.name)
    let numbers = try outputs(fixture, Regression())
    let scale = try BinaryModel(
      path: fixture.packed(head: .classifier, labels: []), instructionSet: InstructionSet.name)
    #expect(model.labels == labels && model.classifierTexts == 1 && model.trainedLength == 79)
    #expect(scale.labels == [] && scale.classifierTexts == 2)
    for index in 0..<fixture.batch.sequences {
      let (tokens, segments) = fixture.sequence(index)
      #expect(
        try model.classifierLogits(tokens, segments: segments).bits == classes[index].bits)
      guard case .classes(let scores) = try model.classify(tokens, segments: segments) else {
        Issue.record("no classes")
        continue
      }
      #expect(scores.map(\.label) == labels && scores.map(\.logit.bitPattern) == classes[index].bits)
      let total = classes[index].reduce(0.0) { $0 + exp(Double($1)) }
      for score in scores {
        #expect(abs(Double(score.probability) - exp(Double(score.logit)) / total) < 1e-6)
      }
      let best = try model.classify(tokens, segments: segments).best
      #expect(best == scores.max { $0.logit < $1.logit })
      #expect(try scale.classify(tokens, segments: segments) == .number(numbers[index][0]))
    }
  }

  /// What training's evaluation gives for each sequence.
  /// A classifier on the mean of the hidden states gives what training's evaluation gives, on every instruction set.
  @Test func classifierOnTheMean() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 1))
    let classes = try outputs(fixture, Classification(classes: 3, pooling: .mean))
    let path = try fixture.packed(head: .classifier, pooling: .mean)
    for name in InstructionSet.available {
      let model = try BinaryModel(path: path, instructionSet: name)
      for index in 0..<fixture.batch.sequences {
        let (tokens, segments) = fixture.sequence(index)
        #expect(try model.classifierLogits(tokens, segments: segments).bits == classes[index].bits, "\(name)")
      }
    }
    let (tensors, metadata) = try fixture.tensors(path)
    let other = fixture.path("median.bipft")
    try writeSafetensors(
      path: other, tensors: tensors, metadata: metadata.merging(["pooling": "median"]) { $1 })
    #expect(throws: BinaryModelError.metadata(key: "pooling", value: "median", wanted: "first or mean")) {
      try BinaryModel(path: other)
    }
  }

  private func outputs<Goal: Objective>(
    _ fixture: PackedFixture, _ objective: Goal
  ) throws -> [[Float]] where Goal.Labels == SequenceLabels {
    let layout = ModelLayout(fixture.configuration, objective)
    let parameters = FloatBuffer(count: layout.parameters.elementCount)
    let outputs = layout.parameters["classifier.bias"].count
    let report = try Initialisation.load(
      PretrainedWeights(path: fixture.weights(outputs: outputs)), into: parameters.view, layout: layout)
    #expect(report.missing.isEmpty)
    let count = fixture.batch.sequences
    var trained = Model(layout, sequences: count, length: fixture.batch.length)
    trained.binarise(parameters.view)
    let batch = Batch(
      tokens: fixture.batch, labels: SequenceLabels(targets: Array(repeating: 0, count: count)))
    return trained.evaluate(parameters.view, batch: batch).predictions.map(\.values)
  }

  /// Every instruction set and both ways to open a file give the same bits, heads included.
  @Test func sameBitsEverywhere() throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 2))
    for reals in PackedModelFormat.Reals.allCases {
      let path = try fixture.packed(reals: reals)
      let (tokens, segments) = fixture.sequence(1)
      let reference = try BinaryModel(path: path, instructionSet: "portable")
      let expected = try (
        reference.encode(tokens, segments: segments), reference.embed(tokens),
        reference.wordLogits(tokens, at: [1, 2])
      )
      for name in BinaryModel.instructionSets {
        let model = try BinaryModel(bytes: fixture.bytes(reals: reals), instructionSet: name)
        #expect(try model.encode(tokens, segments: segments) == expected.0, "\(name)")
        #expect(try model.embed(tokens).bits == expected.1.bits, "\(name)")
        #expect(try model.wordLogits(tokens, at: [1, 2]).map(\.bits) == expected.2.map(\.bits), "\(name)")
      }
    }
  }

  /// A float16 file is the float32 file with each number rounded, and nothing else.
  @Test(arguments: [PackedFixture.small(rank: 1), PackedFixture.wide(rank: 0)])
  func float16IsRoundedFloat32(configuration: ModelConfiguration) throws {
    let fixture = try PackedFixture(configuration)
    var (tensors, metadata) = try fixture.tensors(fixture.packed(reals: .float32))
    tensors = tensors.map { tensor in
      guard tensor.type == .float32, !tensor.shape.isEmpty else { return tensor }
      let floats = tensor.bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      return Tensor(name: tensor.name, shape: tensor.shape, floats: floats.map { Float(Float16($0)) })
    }
    let rounded = fixture.path("rounded.bipft")
    try writeSafetensors(path: rounded, tensors: tensors, metadata: metadata)
    let (single, half) = try (
      BinaryModel(path: rounded), BinaryModel(path: fixture.packed(reals: .float16))
    )
    for index in 0..<fixture.batch.sequences {
      let (tokens, segments) = fixture.sequence(index)
      #expect(try half.encode(tokens, segments: segments) == single.encode(tokens, segments: segments))
      #expect(
        try half.wordLogits(tokens, at: [0]).map(\.bits) == single.wordLogits(tokens, at: [0]).map(\.bits))
    }
  }

  /// A file with whole numbers is the float32 file with one table rounded to its rows' units, and nothing else. With the head
  /// for words that table is the head's, and hidden states are those of the float32 file.
  @Test(arguments: [ModelHead.words, .none]) func int16IsRoundedFloat32(head: ModelHead) throws {
    let fixture = try PackedFixture(PackedFixture.wide(rank: 1))
    let exact = try BinaryModel(path: fixture.packed(head: head, reals: .float32))
    let whole = try BinaryModel(path: fixture.packed(head: head, reals: .int16))
    let table =
      head == .words
      ? "bert.embeddings.word_embeddings.weight" : "bert.embeddings.position_embeddings.weight"
    let rounded = try BinaryModel(path: rounding(table, head, fixture))
    for index in 0..<fixture.batch.sequences {
      let (tokens, segments) = fixture.sequence(index)
      let states = try whole.encode(tokens, segments: segments)
      #expect(try states == rounded.encode(tokens, segments: segments))
      #expect(try head == .none || states == exact.encode(tokens, segments: segments))
      if head == .none { continue }
      let logits = try whole.wordLogits(tokens, at: [0])
      #expect(try logits.map(\.bits) == rounded.wordLogits(tokens, at: [0]).map(\.bits))
      #expect(try logits[0].distance(exact.wordLogits(tokens, at: [0])[0]) < 1e-3)
    }
  }

  /// A float32 file with the rows of `table` rounded to 32,767ths of their largest elements.
  private func rounding(_ table: String, _ head: ModelHead, _ fixture: PackedFixture) throws -> String {
    var (tensors, metadata) = try fixture.tensors(fixture.packed(head: head, reals: .float32))
    let index = try #require(tensors.firstIndex { $0.name == table })
    var floats = tensors[index].bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    let columns = tensors[index].shape[1]
    for start in stride(from: 0, to: floats.count, by: columns) {
      let row = start..<start + columns
      let unit = row.map { abs(floats[$0]) }.max()! / 32767
      for place in row { floats[place] = unit * (floats[place] / unit).rounded(.toNearestOrEven) }
    }
    tensors[index] = Tensor(name: table, shape: tensors[index].shape, floats: floats)
    let path = fixture.path("rounded.bipft")
    try writeSafetensors(path: path, tensors: tensors, metadata: metadata)
    return path
  }

  /// Step sizes below the smallest act as that.
  @Test func smallestStepSize() throws {
    let fixture = try PackedFixture(PackedFixture.small(rank: 0))
    let place = fixture.layout.parameters["bert.encoder.layer.1.attention.self.clip_attn"].offset
    fixture.parameters.view[place] = -3
    try writeSafetensors(
      path: fixture.path("model.safetensors"),
      tensors: fixture.layout.parameters.parameters.map {
        Tensor(name: $0.name, shape: $0.shape, floats: fixture.parameters.view[$0.range].array)
      })
    let tensors = try fixture.tensors(fixture.packed()).tensors
    let step = try #require(tensors.first { $0.name.hasSuffix("layer.1.attention.self.clip_attn") })
    #expect(step.bytes == withUnsafeBytes(of: Float(1e-5)) { Array($0) })
  }
}
