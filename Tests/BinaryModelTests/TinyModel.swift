import BinaryModel
import Kernels
import Parameters

/// Numbers for tests, the same in every run.
struct Draws {
  private var stream: RandomStream

  init(_ place: UInt32) { stream = CounterRandom(seed: 20_240_613, purpose: .heldOut).stream(place) }

  mutating func integer(below bound: Int) -> Int { Int(stream.next(below: UInt32(bound))) }
  mutating func float(_ range: ClosedRange<Float> = -1...1) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * stream.unit()
  }
  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in float(range) }
  }
}

/// A small model with random parameters and a batch for it: odd sizes, padding, every kind of parameter away from
/// its default.
struct TinyModel {
  let model: ModelLayout<Pretraining>
  var layout: ParameterLayout { model.parameters }
  let batch: PretrainingBatch
  var values: [Float]
  /// L + 1 hidden states and B×2 logits, as a teacher might give.
  let teacherHidden: [[Float]]
  let teacherLogits: [Float]

  /// The configuration that most tests use.
  static func configuration(
    rank: Int, linearRank: Int = 0, precision: ModelPrecision = .binary
  ) -> ModelConfiguration {
    ModelConfiguration(
      vocabularySize: 40, hiddenSize: 24, layers: 2, heads: 3, intermediateSize: 40, maximumLength: 12,
      estimatorRank: rank, dropout: 0, linearRank: linearRank, precision: precision)
  }

  init(_ configuration: ModelConfiguration, sequences: Int, length: Int, seed: UInt32) {
    var draws = Draws(seed)
    model = ModelLayout(configuration, Pretraining())
    let layout = model.parameters
    values = [Float](repeating: 0, count: layout.elementCount)
    for parameter in layout.parameters {
      for i in parameter.range {
        values[i] =
          switch parameter.kind {
          case .stepSize: 1
          case .binaryMatrix, .binaryTable: draws.float(-0.4...0.5)
          case .real:
            parameter.name.hasSuffix("LayerNorm.weight") ? draws.float(0.6...1.4) : draws.float(-0.3...0.3)
          }
      }
    }
    batch = Self.batch(configuration, sequences: sequences, length: length, &draws)
    let states = sequences * length * configuration.hiddenSize
    teacherHidden = (0...configuration.layers).map { _ in draws.floats(states, -2...2) }
    teacherLogits = draws.floats(2 * sequences, -2...2)

    // Step sizes near what a fit gives, so that operands lie on both sides of every threshold.
    var reference = ReferenceModel(configuration, batch: batch, parameters: duals)
    reference.fit = (2, 4)
    _ = reference.forward()
    for parameter in layout.parameters where parameter.kind == .stepSize {
      let fitted = reference.parameters[parameter.name]![0].value
      values[parameter.offset] = Float(fitted) * draws.float(0.5...1)
    }
  }

  /// A batch by itself.
  static func batch(_ c: ModelConfiguration, sequences: Int, length: Int, seed: UInt32) -> PretrainingBatch {
    var draws = Draws(seed)
    return batch(c, sequences: sequences, length: length, &draws)
  }

  private static func batch(
    _ c: ModelConfiguration, sequences: Int, length: Int, _ draws: inout Draws
  ) -> PretrainingBatch {
    var (ids, types, labels): ([Int32], [Int32], [Int32]) = ([], [], [])
    var lengths: [Int32] = []
    for b in 0..<sequences {
      let real = b == 0 ? length : 4 + draws.integer(below: length - 4)
      lengths.append(Int32(real))
      for t in 0..<length {
        let isReal = t < real
        ids.append(isReal ? Int32(draws.integer(below: c.vocabularySize)) : 0)
        types.append(isReal && t > real / 2 ? 1 : 0)
        labels.append(
          isReal && (t == 1 || draws.integer(below: 4) == 0)
            ? Int32(draws.integer(below: c.vocabularySize)) : -100)
      }
    }
    return PretrainingBatch(
      sequences: sequences, length: length, inputIDs: ids, tokenTypeIDs: types, lengths: lengths,
      labels: labels, nextSentenceLabels: (0..<sequences).map { Int32($0 % 2) },
      sampleIDs: (0..<sequences).map { UInt64($0) << 33 + UInt64($0) + 5 }, epoch: 3)
  }

  /// The parameters as numbers of the reference, without tangents.
  var duals: [String: [Dual]] {
    var result: [String: [Dual]] = [:]
    for parameter in layout.parameters {
      result[parameter.name] = values[parameter.range].map { Dual(Double($0)) }
    }
    return result
  }

  struct Trained {
    let sums: LossTerms
    let gradients: [Float]
    var bits: [UInt32] { gradients.map(\.bitPattern) }
  }

  /// Forward and backward by the model under test.
  func train(
    batch other: PretrainingBatch? = nil, divisors: LossDivisors? = nil, dropout: Dropout? = nil,
    isDistilled: Bool = false, precision: BackwardPrecision = .float32, slices: Int = 1
  ) -> Trained {
    let batch = other ?? self.batch
    var model = PretrainingModel(
      model, sequences: batch.sequences / slices, length: batch.length, slices: slices,
      backwardPrecision: precision, seed: 3)
    let parameters = FloatBuffer(count: layout.elementCount)
    let gradients = FloatBuffer(count: layout.elementCount)
    parameters.view.copy(values)
    model.binarise(parameters.view)
    let own = model.divisors(of: [batch])
    return withTeacher(isDistilled) { teacher in
      var sums = model.layout.objective.noLosses(isDistilled: teacher != nil)
      for slice in batch.slices(of: model.sequences) {
        var losses = sums.zero
        model.train(
          parameters.view, gradients: gradients.view, batch: slice, divisors: divisors ?? own,
          dropout: dropout, teacher: teacher, into: &losses)
        sums += losses
      }
      return Trained(sums: sums, gradients: gradients.view.array)
    }
  }

  /// Runs `body` with the teacher's output in memory.
  func withTeacher<Result>(_ isDistilled: Bool, _ body: (TeacherOutput?) -> Result) -> Result {
    guard isDistilled else { return body(nil) }
    var arena = Arena()
    let hidden = teacherHidden.map { values in
      let view = arena.floats(values.count)
      view.copy(values)
      return view
    }
    let logits = arena.floats(teacherLogits.count)
    logits.copy(teacherLogits)
    let output = TeacherOutput(hidden: hidden, logits: logits)
    return withExtendedLifetime(arena) { body(output) }
  }
}

extension FloatView {
  func copy(_ values: [Float]) {
    precondition(values.count == count, "\(values.count) values into \(count)")
    for (i, value) in values.enumerated() { base[i] = value }
  }
}
