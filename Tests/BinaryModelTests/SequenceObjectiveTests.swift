import BinaryModel
import Foundation
import Kernels
import Testing

/// `Classification` and `Regression`: losses against formulas in double precision, gradients against differences of losses,
/// for parameters that the losses are smooth in: those of the head, and those of the pooler's layer normalisation, which
/// stand for the gradient to the pooled output.
@Suite struct SequenceObjectiveTests {
  private static let smooth = [
    "classifier.weight", "classifier.bias", "bert.pooler.LayerNorm.weight", "bert.pooler.LayerNorm.bias",
  ]

  private struct Scene<Goal: Objective> where Goal.Labels == SequenceLabels {
    let layout: ModelLayout<Goal>
    let batch: Batch<SequenceLabels>
    var values: [Float]

    init(_ goal: Goal, targets: [Float?]) {
      let configuration = TinyModel.configuration(rank: 1)
      layout = ModelLayout(configuration, goal)
      let tokens = TinyModel.batch(configuration, sequences: targets.count, length: 9, seed: 4).tokens
      batch = Batch(tokens: tokens, labels: SequenceLabels(targets: targets))
      let parameters = FloatBuffer(count: layout.parameters.elementCount)
      Initialisation.fill(parameters.view, layout: layout.parameters, seed: 5)
      // A head of about the size that training gives it.
      for name in ["classifier.weight", "classifier.bias"] {
        var draws = Draws(9)
        let range = layout.parameters.find(name)!.range
        parameters.view[range].copy(draws.floats(range.count, -0.5...0.5))
      }
      Model.fitStepSizes(parameters.view, layout: layout, batch: tokens, rule: .published)
      values = parameters.view.array
    }

    func train(_ values: [Float], dropout: Dropout?) -> (loss: Double, gradients: [Float]) {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      let parameters = FloatBuffer(count: values.count)
      let gradients = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      model.binarise(parameters.view)
      var losses = layout.objective.noLosses(isDistilled: false)
      model.train(
        parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
        dropout: dropout, into: &losses)
      return (losses["task_loss"], gradients.view.array)
    }

    func evaluate() -> (losses: LossTerms, predictions: [Prediction]) {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      let parameters = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      model.binarise(parameters.view)
      return model.evaluate(parameters.view, batch: batch)
    }

    func checkGradients(dropout: Dropout?) {
      let found = train(values, dropout: dropout).gradients
      for name in SequenceObjectiveTests.smooth {
        let range = layout.parameters.find(name)!.range
        for element in stride(from: range.lowerBound, to: range.upperBound, by: max(1, range.count / 7)) {
          let step: Float = 1 / 64
          var (above, below) = (values, values)
          above[element] += step
          below[element] -= step
          let slope =
            (train(above, dropout: dropout).loss - train(below, dropout: dropout).loss) / Double(2 * step)
          #expect(
            abs(Double(found[element]) - slope) < 2e-3 * max(0.1, abs(slope)),
            "\(name) \(element): \(found[element]), not \(slope)")
        }
        #expect(found[range].contains { abs($0) > 1e-3 }, "\(name) has a gradient")
      }
    }
  }

  @Test(arguments: [Float(0), 0.3]) func classification(rate: Float) {
    let scene = Scene(Classification(classes: 3), targets: [2, nil, 0, 1])
    scene.checkGradients(dropout: rate == 0 ? nil : Dropout(rate: rate, seed: 1))
    let (losses, predictions) = scene.evaluate()
    #expect(predictions.map(\.label) == [2, 0, 1])
    #expect(predictions.map(\.sample) == [0, 2, 3].map { scene.batch.tokens.sampleIDs[$0] })
    let expected = predictions.reduce(0.0) { sum, row in
      let largest = Double(row.values.max()!)
      let all = row.values.reduce(0.0) { $0 + exp(Double($1) - largest) }
      return sum - (Double(row.values[Int(row.label)]) - largest - log(all)) / 3
    }
    #expect(abs(losses["task_loss"] - expected) < 1e-6 && losses.term("task_loss").count == 3)
  }

  @Test(arguments: [Float(0), 0.3]) func regression(rate: Float) {
    let scene = Scene(Regression(), targets: [2.5, 0, nil, 5])
    scene.checkGradients(dropout: rate == 0 ? nil : Dropout(rate: rate, seed: 1))
    let (losses, predictions) = scene.evaluate()
    #expect(predictions.map(\.label) == [2.5, 0, 5] && predictions.allSatisfy { $0.values.count == 1 })
    let expected = predictions.reduce(0.0) {
      $0 + Double(($1.values[0] - $1.label) * ($1.values[0] - $1.label)) / 3
    }
    #expect(abs(losses["task_loss"] - expected) < 1e-5)
  }

  /// Dropout before the head is there, with its share of zeros: without it the two losses would be the same.
  @Test func dropoutStandsBeforeTheHead() {
    let scene = Scene(Regression(), targets: [2.5, 0, 1, 5])
    let (whole, dropped) = (
      scene.train(scene.values, dropout: nil), scene.train(scene.values, dropout: Dropout(rate: 0.5, seed: 2))
    )
    let range = scene.layout.parameters.find("classifier.weight")!.range
    #expect(whole.gradients[range].allSatisfy { $0 != 0 })
    #expect(dropped.loss != whole.loss && dropped.gradients[range] != whole.gradients[range])
  }
}
