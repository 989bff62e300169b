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
    /// B×outputs, and L + 1 hidden states; nil for no teacher.
    var teacher: (logits: [Float], hidden: [[Float]])?

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
      Model.fit(parameters.view, layout: layout, batch: tokens, rule: .published)
      values = parameters.view.array
    }

    func train(_ values: [Float], dropout: Dropout?) -> (loss: Double, gradients: [Float]) {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      let parameters = FloatBuffer(count: values.count)
      let gradients = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      model.binarise(parameters.view)
      var losses = layout.objective.noLosses(isDistilled: teacher != nil)
      withTeacher { teacher in
        model.train(
          parameters.view, gradients: gradients.view, batch: batch, divisors: model.divisors(of: [batch]),
          dropout: dropout, teacher: teacher, into: &losses)
      }
      return (losses.total, gradients.view.array)
    }

    func evaluate(counted: Int? = nil) -> (losses: LossTerms, predictions: [Prediction]) {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      let parameters = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      model.binarise(parameters.view)
      return withTeacher { model.evaluate(parameters.view, batch: batch, teacher: $0, counted: counted) }
    }

    /// What the encoder makes of the batch: L + 1 hidden states.
    func hidden() -> [[Float]] {
      var model = Model(layout, sequences: batch.sequences, length: batch.length)
      let parameters = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      model.binarise(parameters.view)
      return model.encode(parameters.view, batch.tokens).hidden.map(\.array)
    }

    /// Runs `body` with the teacher's output in memory.
    private func withTeacher<Result>(_ body: (TeacherOutput?) -> Result) -> Result {
      guard let teacher else { return body(nil) }
      var arena = Arena()
      func view(_ values: [Float], _ arena: inout Arena) -> FloatView {
        let view = arena.floats(values.count)
        view.copy(values)
        return view
      }
      let logits = view(teacher.logits, &arena)
      var hidden: [FloatView] = []
      for values in teacher.hidden { hidden.append(view(values, &arena)) }
      let output = TeacherOutput(hidden: hidden, logits: logits)
      return withExtendedLifetime(arena) { body(output) }
    }

    func checkGradients(_ names: [String] = SequenceObjectiveTests.smooth, dropout: Dropout?) {
      let found = train(values, dropout: dropout).gradients
      for name in names {
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

  /// On the mean of the last hidden states, which are smooth in the last layer normalisation; no pooler has a part in it.
  @Test(arguments: [Float(0), 0.3]) func meanOfHiddenStates(rate: Float) {
    let last = "bert.encoder.layer.\(TinyModel.configuration(rank: 1).layers - 1).output.LayerNorm."
    let dropout = rate == 0 ? nil : Dropout(rate: rate, seed: 1)
    let scene = Scene(Classification(classes: 3, pooling: .mean), targets: [2, nil, 0, 1])
    scene.checkGradients(
      ["classifier.weight", "classifier.bias", last + "weight", last + "bias"], dropout: dropout)
    let gradients = scene.train(scene.values, dropout: dropout).gradients
    let pooler = scene.layout.parameters.find("bert.pooler.LayerNorm.weight")!.range
    #expect(gradients[pooler].allSatisfy { $0 == 0 })

    // The outputs themselves, in double precision.
    let (hidden, predictions) = (scene.hidden().last!, scene.evaluate().predictions)
    func values(_ name: String) -> [Float] { Array(scene.values[scene.layout.parameters.find(name)!.range]) }
    let (weight, bias) = (values("classifier.weight"), values("classifier.bias"))
    let width = weight.count / 3
    for (prediction, b) in zip(predictions, [0, 2, 3]) {
      let tokens = Int(scene.batch.tokens.lengths[b])
      for output in 0..<3 {
        var sum = Double(bias[output])
        for j in 0..<width {
          let column = (0..<tokens).reduce(0.0) {
            $0 + Double(hidden[(b * scene.batch.length + $1) * width + j])
          }
          sum += column / Double(tokens) * Double(weight[output * width + j])
        }
        #expect(abs(Double(prediction.values[output]) - sum) < 1e-5)
      }
    }
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

  /// Logits of a teacher: the cross entropy of its softmax with the student's.
  @Test func classificationWithATeacher() throws {
    var scene = Scene(Classification(classes: 3, distillation: .logits), targets: [2, nil, 0, 1])
    var draws = Draws(3)
    let states = scene.hidden().map { draws.floats($0.count, -2...2) }
    scene.teacher = (draws.floats(12, -2...2), states)
    scene.checkGradients(dropout: nil)
    let (losses, predictions) = scene.evaluate()
    #expect(losses.terms.filter { $0.role == .distillation }.map(\.key) == ["task_distillation_loss"])
    func logSoftmax(_ x: [Float]) -> [Double] {
      let sum = x.reduce(0) { $0 + exp(Double($1)) }
      return x.map { Double($0) - log(sum) }
    }
    let expected = zip([0, 2, 3], predictions).reduce(0.0) { sum, row in
      let teacher = logSoftmax(Array(scene.teacher!.logits[3 * row.0..<3 * row.0 + 3]))
      return zip(teacher, logSoftmax(row.1.values)).reduce(sum) { $0 - exp($1.0) * $1.1 / 9 }
    }
    #expect(abs(losses["task_distillation_loss"] - expected) < 1e-6)
    #expect(losses.term("task_distillation_loss").count == 9)
  }

  /// Numbers and hidden states of a teacher; sequences that fill a batch up do not count.
  @Test func regressionWithATeacher() {
    var scene = Scene(Regression(distillation: .both), targets: [2.5, 0, 5, nil])
    var draws = Draws(3)
    let states = scene.hidden()
    scene.teacher = (draws.floats(4, 0...5), states.map { draws.floats($0.count, -2...2) })
    scene.checkGradients(dropout: nil)
    let (losses, predictions) = scene.evaluate(counted: 3)
    let expected = zip(scene.teacher!.logits, predictions).reduce(0.0) {
      $0 + Double(($1.1.values[0] - $1.0) * ($1.1.values[0] - $1.0)) / 3
    }
    #expect(abs(losses["task_distillation_loss"] - expected) < 1e-5)
    let distance = zip(states, scene.teacher!.hidden).reduce(0.0) { sum, pair in
      let counted = pair.0.count * 3 / 4
      let square = zip(pair.0, pair.1).prefix(counted).reduce(0.0) {
        $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
      }
      return sum + square / Double(counted * states.count)
    }
    #expect(abs(losses["hidden_loss"] - distance) < 1e-5, "\(losses["hidden_loss"]), \(distance)")
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
