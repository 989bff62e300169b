import BinaryModel
import Foundation
import Kernels
import Testing

/// `SentenceEncoding`: losses against formulas in double precision, gradients against differences of losses, for parameters that
/// they are smooth in: the last layer normalisation, which stands for the gradient to the last hidden states.
@Suite struct SentenceEncodingTests {
  private static let smooth = ["weight", "bias"].map { "bert.encoder.layer.1.output.LayerNorm.\($0)" }
  private static let weights = SentenceEncoding.Weights(cosine: 1.5, similarity: 0.75, hidden: 0.5)
  private static let length = 9

  private struct Scene {
    let layout: ModelLayout<SentenceEncoding>
    let batch: Batch<SentenceLabels>
    let values: [Float]
    /// L + 1 hidden states of a teacher.
    var teacher: [[Float]]

    init(
      _ uses: [SentenceLabels.Use], weights: SentenceEncoding.Weights = SentenceEncodingTests.weights
    ) {
      let configuration = TinyModel.configuration(rank: 1)
      layout = ModelLayout(configuration, SentenceEncoding(weights: weights, temperature: 0.25))
      let tokens = TinyModel.batch(
        configuration, sequences: uses.count, length: SentenceEncodingTests.length, seed: 4
      ).tokens
      batch = Batch(tokens: tokens, labels: SentenceLabels(uses: uses))
      let parameters = FloatBuffer(count: layout.parameters.elementCount)
      Initialisation.fill(parameters.view, layout: layout.parameters, seed: 5)
      Model.fit(parameters.view, layout: layout, batch: tokens, rule: .published)
      values = parameters.view.array
      var draws = Draws(11)
      let states = uses.count * SentenceEncodingTests.length * configuration.hiddenSize
      teacher = (0...configuration.layers).map { _ in draws.floats(states, -2...2) }
    }

    func withModel<Result>(
      _ values: [Float], _ body: (borrowing Model<SentenceEncoding>, FloatView, TeacherOutput) -> Result
    ) -> Result {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      var arena = Arena()
      let parameters = arena.floats(values.count)
      parameters.copy(values)
      let hidden = teacher.map { values in
        let view = arena.floats(values.count)
        view.copy(values)
        return view
      }
      model.binarise(parameters)
      return withExtendedLifetime(arena) {
        body(model, parameters, TeacherOutput(hidden: hidden, logits: nil))
      }
    }

    func train(_ values: [Float]) -> (losses: LossTerms, gradients: [Float]) {
      withModel(values) { model, parameters, teacher in
        let gradients = FloatBuffer(count: values.count)
        var losses = layout.objective.noLosses(isDistilled: true)
        model.train(
          parameters, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
          dropout: nil, teacher: teacher, into: &losses)
        return (losses, gradients.view.array)
      }
    }

    func evaluate() -> (losses: LossTerms, predictions: [Prediction], hidden: [[Float]]) {
      withModel(values) { model, parameters, teacher in
        let found = model.evaluate(parameters, batch: batch, teacher: teacher)
        return (
          found.losses, found.predictions, model.encode(parameters, batch.tokens).hidden.map(\.array)
        )
      }
    }

    /// The normalised mean of the states of sequence b's tokens.
    func embedding(_ states: [Float], _ b: Int) -> [Double] {
      let (width, count) = (layout.configuration.hiddenSize, Int(batch.tokens.lengths[b]))
      let mean = (0..<width).map { j in
        let sum = (0..<count).reduce(0.0) { $0 + Double(states[(b * batch.length + $1) * width + j]) }
        return sum / Double(count)
      }
      let norm = mean.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return mean.map { $0 / norm }
    }
  }

  private static func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

  @Test func lossesAreThoseOfTheFormulas() {
    let scene = Scene([.matched, .compared(score: 2.5), .matched, .ignored, .matched])
    let found = scene.evaluate()
    let counted = [0, 2, 4]
    let (own, other) = (
      counted.map { scene.embedding(found.hidden[2], $0) },
      counted.map { scene.embedding(scene.teacher[2], $0) }
    )
    let cosine = zip(own, other).reduce(0) { $0 + (1 - Self.dot($1.0, $1.1)) / 3 }
    #expect(abs(found.losses[SentenceEncoding.cosineKey] - cosine) < 1e-5)
    var similarity = 0.0
    for i in 0..<3 {
      func shares(_ e: [[Double]]) -> [Double] {
        let weights = (0..<3).map { $0 == i ? 0 : exp(Self.dot(e[i], e[$0]) / 0.25) }
        return weights.map { $0 / weights.reduce(0, +) }
      }
      for (p, q) in zip(shares(other), shares(own)) where p > 0 { similarity += p * log(p / q) / 3 }
    }
    #expect(similarity > 1e-3)
    #expect(abs(found.losses[SentenceEncoding.similarityKey] - similarity) < 1e-5)
    // All tokens but padding, of every sequence in the batch.
    var hidden = 0.0
    let width = scene.layout.configuration.hiddenSize
    for (own, other) in zip(found.hidden, scene.teacher) {
      for b in 0..<5 {
        let count = Int(scene.batch.tokens.lengths[b]) * width
        let start = b * Self.length * width
        let distance = (start..<start + count).reduce(0.0) { sum, i in
          let difference = Double(own[i]) - Double(other[i])
          return sum + difference * difference
        }
        hidden += distance / Double(count * 5 * 3)
      }
    }
    #expect(abs(found.losses["hidden_loss"] - hidden) < 1e-4 * hidden)
    let total = 1.5 * cosine + 0.75 * similarity + 0.5 * hidden
    #expect(abs(found.losses.total - total) < 1e-4 * total)

    #expect(found.predictions.count == 1 && found.predictions[0].label == 2.5)
    #expect(found.predictions[0].sample == scene.batch.tokens.sampleIDs[1])
    let embedding = scene.embedding(found.hidden[2], 1)
    #expect(zip(found.predictions[0].values, embedding).allSatisfy { abs(Double($0) - $1) < 1e-6 })
  }

  @Test(arguments: [
    weights, SentenceEncoding.Weights(cosine: 0, similarity: 1, hidden: 0),
    SentenceEncoding.Weights(cosine: 1, similarity: 0, hidden: 0),
  ]) func gradientsAreSlopes(weights: SentenceEncoding.Weights) {
    let scene = Scene([.matched, .matched, .ignored, .matched, .matched], weights: weights)
    let found = scene.train(scene.values)
    for name in Self.smooth {
      let range = scene.layout.parameters.find(name)!.range
      for element in stride(from: range.lowerBound, to: range.upperBound, by: 3) {
        let step: Float = 1 / 128
        var (above, below) = (scene.values, scene.values)
        above[element] += step
        below[element] -= step
        let slope =
          (scene.train(above).losses.total - scene.train(below).losses.total) / Double(2 * step)
        #expect(
          abs(Double(found.gradients[element]) - slope) < 5e-3 * max(0.02, abs(slope)),
          "\(name) \(element): \(found.gradients[element]), not \(slope)")
      }
      #expect(found.gradients[range].contains { abs($0) > 1e-3 }, "\(name) has a gradient")
    }
  }

  /// What stands at padding, and in sequences that do not count, changes neither embeddings nor gradients.
  @Test func paddingIsLeftOut() {
    var scene = Scene([.matched, .matched, .matched])
    let before = scene.train(scene.values)
    let width = scene.layout.configuration.hiddenSize
    for state in scene.teacher.indices {
      for b in 0..<3 {
        for token in Int(scene.batch.tokens.lengths[b])..<Self.length {
          for j in 0..<width { scene.teacher[state][(b * Self.length + token) * width + j] = 100 }
        }
      }
    }
    let after = scene.train(scene.values)
    #expect(scene.batch.tokens.lengths.contains { $0 < Self.length })
    #expect(before.losses == after.losses && before.gradients == after.gradients)
  }

  /// A teacher that the student equals leaves nothing to learn; one sequence has none to be compared with.
  @Test func nothingIsLostAtTheTeacher() {
    var scene = Scene([.matched, .matched, .matched])
    scene.teacher = scene.evaluate().hidden
    let found = scene.train(scene.values)
    for key in [SentenceEncoding.cosineKey, SentenceEncoding.similarityKey, "hidden_loss"] {
      #expect(abs(found.losses[key]) < 1e-6, "\(key)")
    }
    #expect(found.gradients.allSatisfy { abs($0) < 1e-5 })
    let alone = Scene([.matched, .ignored]).evaluate().losses
    #expect(alone.term(SentenceEncoding.similarityKey).count == 0)
    #expect(alone[SentenceEncoding.cosineKey] > 0)
  }

  /// Pairs of predictions, in their order, become a cosine each.
  @Test func pairsBecomeCosines() {
    let objective = SentenceEncoding(weights: Self.weights, temperature: 1) { cosines, scores in
      zip(cosines, scores).enumerated().map { ("\($0.offset) \($0.element.1)", $0.element.0) }
    }
    let rows = [([1, 0], 3), ([0.6, 0.8], 3), ([0, 1], 0.5), ([1, 0], 0.5)] as [([Float], Float)]
    let metrics = objective.metrics(
      rows.enumerated().map { Prediction(sample: UInt64($0), values: $1.0, label: $1.1) })
    #expect(metrics.map(\.key) == ["0 3.0", "1 0.5"])
    #expect(zip(metrics, [0.6, 0]).allSatisfy { abs($0.value - $1) < 1e-6 })
  }
}
