import BinaryModel
import Kernels
import Testing

/// Losses and gradients against dual numbers: an independent forward in double precision whose binarisers carry
/// METHOD's straight-through rules as tangents.
@Suite struct DualNumberTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let rank: Int
    let dropoutRate: Float
    let isDistilled: Bool
    /// Chosen so that no operand lies close to a threshold.
    let seed: UInt32
    /// Sequences of 70 tokens instead of 9: more than one word of packed bits a row.
    var isLong = false
    var linearRank = 0
    var precision = ModelPrecision.binary
    var window: Float?
    var isPerHead = false
    var bits = 1
    var activation = FeedForwardActivation.gelu
    var hiddenLoss = HiddenLoss.mean
    /// The least distance of an operand from a threshold: with more levels one is always near.
    var margin = 1e-4

    var testDescription: String {
      "\(precision), rank \(rank), \(linearRank), \(isLong ? 70 : 9) tokens, dropout \(dropoutRate), distilled \(isDistilled), "
        + "seed \(seed), window \(window.map { "\($0)" } ?? "of steps"), per head \(isPerHead), "
        + "\(bits) bits, \(activation), \(hiddenLoss) of hidden distances"
    }
    var dropout: Dropout? { dropoutRate == 0 ? nil : Dropout(rate: dropoutRate, seed: UInt64(seed)) }

    func make() -> (tiny: TinyModel, reference: ReferenceModel) {
      var configuration = TinyModel.configuration(
        rank: rank, linearRank: linearRank, precision: precision)
      configuration.hasEstimatorsPerHead = isPerHead
      configuration.activationBits = bits
      configuration.feedForwardActivation = activation
      configuration.hiddenLoss = hiddenLoss
      if let window { configuration.gradientWindow = .means(window) }
      if isLong {
        (configuration.hiddenSize, configuration.layers, configuration.maximumLength) = (12, 1, 70)
      }
      let tiny = TinyModel(
        configuration, sequences: isLong ? 1 : 2, length: isLong ? 70 : 9, seed: seed)
      var reference = ReferenceModel(tiny.model.configuration, batch: tiny.batch, parameters: tiny.duals)
      reference.dropout = dropout
      reference.window = window.map(Double.init)
      if isDistilled { reference.teacher = (tiny.teacherHidden, tiny.teacherLogits) }
      return (tiny, reference)
    }
  }

  static let cases = [
    Case(rank: 0, dropoutRate: 0, isDistilled: false, seed: 2),
    Case(rank: 0, dropoutRate: 0.2, isDistilled: true, seed: 1),
    Case(rank: 1, dropoutRate: 0, isDistilled: true, seed: 5),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: false, seed: 2),
    Case(rank: 3, dropoutRate: 0.2, isDistilled: true, seed: 2),
    Case(rank: 1, dropoutRate: 0, isDistilled: true, seed: 5, hiddenLoss: .sum),
    Case(rank: 0, dropoutRate: 0, isDistilled: true, seed: 2, precision: .full, hiddenLoss: .sum),
    Case(rank: 2, dropoutRate: 0.2, isDistilled: true, seed: 6, isLong: true),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 2, linearRank: 2),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 3, linearRank: 1, precision: .halfBinary),
    Case(rank: 0, dropoutRate: 0, isDistilled: false, seed: 3, precision: .halfBinary),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 2, window: 1),
    Case(rank: 2, dropoutRate: 0.2, isDistilled: true, seed: 3, isPerHead: true),
    Case(rank: 1, dropoutRate: 0, isDistilled: false, seed: 1, isLong: true, isPerHead: true),
    Case(rank: 0, dropoutRate: 0, isDistilled: true, seed: 3, precision: .halfBinary, window: 1.75),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 37, activation: .relu),
    Case(rank: 0, dropoutRate: 0, isDistilled: false, seed: 71, bits: 2),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 85, bits: 2, activation: .relu),
    Case(rank: 2, dropoutRate: 0.2, isDistilled: true, seed: 29, isPerHead: true, bits: 2),
    Case(
      rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 143, linearRank: 1, precision: .halfBinary, bits: 2),
    Case(rank: 1, dropoutRate: 0, isDistilled: true, seed: 75, bits: 4),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 82, bits: 4, activation: .relu, margin: 5e-5),
    Case(rank: 1, dropoutRate: 0.2, isDistilled: true, seed: 125, bits: 8, margin: 1e-5),
    Case(rank: 1, dropoutRate: 0, isDistilled: true, seed: 97, bits: 8, activation: .relu, margin: 1e-5),
    Case(rank: 0, dropoutRate: 0, isDistilled: true, seed: 2, precision: .full),
    Case(rank: 0, dropoutRate: 0.2, isDistilled: true, seed: 3, precision: .full),
    Case(rank: 0, dropoutRate: 0.2, isDistilled: false, seed: 6, isLong: true, precision: .full),
  ]

  @Test(arguments: cases) func lossesAndGradients(test: Case) throws {
    var (tiny, reference) = test.make()
    let losses = reference.forward()
    try #require(
      reference.activationMargin > test.margin, "\(reference.activationMargin): choose another seed")
    try #require(reference.weightMargin > 1e-6, "\(reference.weightMargin): choose another seed")

    let found = tiny.train(dropout: test.dropout, isDistilled: test.isDistilled)
    for (name, value, expected) in [
      ("MLM", found.sums["mlm_loss"], losses.mlm), ("NSP", found.sums["nsp_loss"], losses.nsp),
      ("hidden", found.sums["hidden_loss"], losses.hidden),
      ("NSP distillation", found.sums["nsp_distillation_loss"], losses.nspDistillation),
      ("total", found.sums.total, losses.total),
    ] {
      #expect(abs(value - expected.value) < 1e-5, "loss \(name): \(value), expected \(expected.value)")
    }
    #expect((losses.hidden.value > 0) == test.isDistilled)

    var draws = Draws(1_000)
    var nonzero = 0
    for parameter in tiny.layout.parameters {
      let gradient = found.gradients[parameter.range].map(Double.init)
      let norm = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
      // Fine levels reach so far that they clip few keys or none, and softmax does not see what is added to all keys.
      let isUnseen =
        test.bits > 2 && [".key.bias", ".key.move.bias"].contains { parameter.name.hasSuffix($0) }
      if norm > 1e-6 || isUnseen { nonzero += 1 }
      let start = reference.parameters[parameter.name]!
      for _ in 0..<2 {
        let direction = draws.floats(parameter.count).map(Double.init)
        reference.parameters[parameter.name] = zip(start, direction).map { Dual($0.value, tangent: $1) }
        let expected = reference.forward().total.tangent
        let slope = zip(gradient, direction).reduce(0) { $0 + $1.0 * $1.1 }
        let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(
          abs(slope - expected) < (1e-6 * norm + 5e-7) * length,
          "\(parameter.name): slope \(slope), expected \(expected)")
      }
      reference.parameters[parameter.name] = start
    }
    // The estimators' key biases have no gradient but rounding, nor has that of the keys at full precision: softmax does not see
    // them.
    let unseen = (test.rank == 0 ? 0 : 2) + (test.precision == .full ? 1 : 0)
    let withoutGradient = unseen * tiny.model.configuration.layers
    #expect(nonzero == tiny.layout.parameters.count - withoutGradient, "\(nonzero) gradients above 1e-6")
  }

  /// The rules that look at an operand alone against the plain computation.
  @Test(arguments: [StepSizeFit.published, .leastSquares], [0, 1]) func stepSizeFit(
    rule: StepSizeFit, rank: Int
  ) {
    let tiny = TinyModel(TinyModel.configuration(rank: rank), sequences: 2, length: 9, seed: 2)
    var reference = ReferenceModel(tiny.model.configuration, batch: tiny.batch, parameters: tiny.duals)
    reference.fit = rule == .published ? (2, 4) : (1, 4)
    _ = reference.forward()
    #expect(reference.activationMargin > 1e-6 && reference.weightMargin > 1e-6, "choose another seed")

    var model = PretrainingModel(tiny.model, sequences: 2, length: 9)
    let parameters = FloatBuffer(count: tiny.layout.elementCount)
    parameters.view.copy(tiny.values)
    model.binarise(parameters.view)
    PretrainingModel.fit(parameters.view, layout: tiny.model, batch: tiny.batch.tokens, rule: rule)
    for parameter in tiny.layout.parameters {
      guard parameter.kind == .stepSize else {
        #expect(parameters.view[parameter.range].array == Array(tiny.values[parameter.range]))
        continue
      }
      let (found, expected) = (
        Double(parameters.view[parameter.offset]), reference.parameters[parameter.name]![0].value
      )
      #expect(abs(found - expected) < 1e-5 * expected, "\(parameter.name): \(found), expected \(expected)")
    }
  }

  /// A weight that equals the mean counts as positive, in matrices and in the word embedding.
  @Test func signOfZero() throws {
    var tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 2, length: 9, seed: 5)
    for (name, value) in [
      ("bert.embeddings.word_embeddings.weight", Float(0.5)),
      ("bert.encoder.layer.0.intermediate.dense.weight", -0.25),
    ] {
      for i in tiny.layout[name].range { tiny.values[i] = value }
    }
    var reference = ReferenceModel(tiny.model.configuration, batch: tiny.batch, parameters: tiny.duals)
    let losses = reference.forward()
    try #require(reference.activationMargin > 1e-5, "\(reference.activationMargin): choose another seed")
    let sums = tiny.train().sums
    #expect(abs(sums["mlm_loss"] - losses.mlm.value) < 1e-5)
    #expect(abs(sums["nsp_loss"] - losses.nsp.value) < 1e-5)
  }

  /// A step size below 1e-5, even negative, acts as 1e-5.
  @Test func smallestStep() {
    var tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 2, length: 9, seed: 1)
    let step = tiny.layout["bert.encoder.layer.0.intermediate.dense.input_clip_val"]
    var found: [[UInt32]] = []
    for value: Float in [1e-5, 0.9e-5, 0, -3] {
      tiny.values[step.offset] = value
      found.append(tiny.train().bits)
    }
    #expect(found.allSatisfy { $0 == found[0] })
  }
}
