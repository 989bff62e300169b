/// How step sizes are fitted to the first operands that reach them (METHOD, "Step-size fit").
public enum StepSizeFit: String, CaseIterable, Sendable {
  /// 2·mean|x| for signed operands, 4·mean|p| for probabilities: the authors' release.
  case published
  /// mean|x| for signed operands, the best scale of signs in the least-squares sense; 4·mean|p| for probabilities.
  case leastSquares = "least_squares"
  /// So that what each layer puts out comes nearest, in the least-squares sense, to what the same weights put out at full
  /// precision: of linear layers (their bias with it), of scores, of contexts.
  ///
  /// - Cost: a second copy of the weights, a full-precision forward pass, and another product for each.
  case output

  var signedFactor: Double { self == .published ? 2 : 1 }
  var unsignedFactor: Double { 4 }
}

/// How the residual estimators begin.
public enum EstimatorFit: String, CaseIterable, Sendable {
  /// At random, and are learned by gradient: the paper.
  case gradient
  /// At the least-squares solution for the residual that they stand for.
  ///
  /// - Cost: some 30 products of H×H×N and T×H×N for each layer, in float64; and, to tell each layer's distance from full
  ///   precision, a second copy of the weights and a full-precision forward pass.
  case closedForm = "closed_form"
}

/// What a fit found of one layer.
public struct LayerFit: Equatable, Sendable {
  public let layer: Int
  /// Share of the energy of the scores' residual, as far as softmax sees it, that the estimators stand for; nil where they were
  /// not fitted.
  public internal(set) var scoresExplained: Double?
  /// The same of the values' residual and their estimator.
  public internal(set) var valuesExplained: Double?
  /// Mean square of the layer's output less that at full precision, over real tokens; nil where nothing was compared.
  public internal(set) var distance: Double?
  /// What the data could not tell, so that it stayed as it was.
  public internal(set) var unfitted: [String] = []

  init(layer: Int) { self.layer = layer }
}

extension LayerFit {
  /// For people; nil where there is nothing to tell.
  public var text: String? {
    func share(_ value: Double) -> String { "\((value * 1000).rounded() / 10) %" }
    var parts: [String] = []
    if let scoresExplained {
      parts.append("estimators explain \(share(scoresExplained)) of the scores' residual")
    }
    if let valuesExplained { parts.append("\(share(valuesExplained)) of the values'") }
    if let distance { parts.append("output \((distance * 1e4).rounded() / 1e4) from full precision") }
    if !unfitted.isEmpty {
      parts.append(
        "not fitted, since nothing there varies or follows full precision: "
          + unfitted.joined(separator: ", "))
    }
    return parts.isEmpty ? nil : "fit of layer \(layer): " + parts.joined(separator: ", ")
  }
}
