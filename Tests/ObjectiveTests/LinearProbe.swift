import BinaryModel
import Kernels
import Parameters

/// A class for each sequence. Negative: the sequence does not count.
struct ClassLabels: BatchLabels {
  var classes: [Int32]

  func slice(_ own: Range<Int>, length: Int) -> ClassLabels { ClassLabels(classes: Array(classes[own])) }
  static func joined(_ parts: [ClassLabels]) -> ClassLabels { ClassLabels(classes: parts.flatMap(\.classes)) }
  var ignored: ClassLabels { ClassLabels(classes: classes.map { _ in -1 }) }
}

/// A linear classifier on the pooled output: logits = W pooled + b. The encoder stays as it is.
///
/// Legend: B sequences, H hidden, C classes.
struct LinearProbe: Objective {
  let classes: Int

  var losses: [String] { ["probe_loss"] }
  var shares: [String] { ["probe_accuracy"] }
  var trainsEncoder: Bool { false }

  func addParameters(
    _ c: ModelConfiguration, words: Range<Int>, to layout: inout LayoutBuilder
  ) -> LinearPlaces {
    LinearPlaces("probe", outputs: classes, inputs: c.hiddenSize, in: &layout)
  }

  func counts(_ labels: ClassLabels) -> [Int] { [labels.classes.count { $0 >= 0 }] }

  func makeHead(_ places: LinearPlaces, _ shape: HeadShape, in arena: inout Arena) -> LinearProbeHead {
    func matrix(_ columns: Int, _ arena: inout Arena) -> MatrixView {
      MatrixView(arena.floats(shape.sequences * columns), rows: shape.sequences, columns: columns)
    }
    return LinearProbeHead(
      places: places, logits: matrix(classes, &arena), gradient: matrix(classes, &arena))
  }

  /// The share of samples whose label is 1 and is predicted: made of the rows, to see them arrive.
  func metrics(_ predictions: [Prediction]) -> [(key: String, value: Double)] {
    let ones = predictions.filter { $0.label == 1 }
    let found = ones.count { $0.values[1] > $0.values[0] }
    let order = zip(predictions, predictions.dropFirst()).allSatisfy { $0.sample < $1.sample }
    return [
      ("probe_recall", Double(found) / Double(max(1, ones.count))), ("probe_rows", Double(predictions.count)),
      ("probe_in_order", order ? 1 : 0),
    ]
  }
}

struct LinearProbeHead: ObjectiveHead {
  let places: LinearPlaces
  /// B×C, and their gradient.
  let logits: MatrixView
  let gradient: MatrixView

  func losses(
    _ output: EncoderOutput, _ batch: Batch<ClassLabels>, divisors: LossDivisors, parameters: FloatView,
    teacher: TeacherOutput?, gradients: HeadGradients?, into terms: inout LossTerms
  ) {
    places.forward(output.pooled, parameters: parameters, into: logits)
    gradient.dense.fill(0)
    var (loss, right, count) = (0.0, 0, 0)
    for (b, label) in batch.labels.classes.enumerated() where label >= 0 {
      let row = gradient[rows: b..<b + 1].dense
      row.copy(from: logits[rows: b..<b + 1].dense)
      let result = crossEntropy(row, label: Int(label), factor: 1 / Float(divisors.count(0)))
      loss += result.loss
      right += result.best == Int(label) ? 1 : 0
      count += 1
    }
    terms.add("probe_loss", sum: loss, count: count)
    terms.add("probe_accuracy", sum: Double(right), count: count)
    guard let gradients else { return }
    places.backward(
      gradient, x: output.pooled, parameters: parameters, gradients: gradients.parameters, addingTo: nil)
  }

  func predictions(_ batch: Batch<ClassLabels>) -> [Prediction] {
    batch.labels.classes.enumerated().filter { $0.element >= 0 }.map { b, label in
      Prediction(
        sample: batch.tokens.sampleIDs[b], values: logits[rows: b..<b + 1].dense.array, label: Float(label))
    }
  }
}
