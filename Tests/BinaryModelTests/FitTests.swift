import BinaryModel
import Kernels
import Testing

/// What is fitted to data before the first update.
@Suite struct FitTests {
  private func fitted(
    _ tiny: TinyModel, _ rule: StepSizeFit, _ estimators: EstimatorFit = .gradient
  ) -> (values: [Float], layers: [LayerFit]) {
    let parameters = FloatBuffer(count: tiny.layout.elementCount)
    parameters.view.copy(tiny.values)
    let layers = Model.fit(
      parameters.view, layout: tiny.model, batch: tiny.batch.tokens, rule: rule, estimators: estimators)
    return (parameters.view.array, layers)
  }

  /// Step sizes and biases against plain loops in double precision, with padding and odd sizes.
  @Test(arguments: [(rank: 0, precision: ModelPrecision.binary), (1, .binary), (1, .halfBinary)])
  func output(rank: Int, precision: ModelPrecision) {
    let tiny = TinyModel(
      TinyModel.configuration(rank: rank, precision: precision), sequences: 2, length: 9, seed: 4)
    var full = tiny.model.configuration
    (full.precision, full.estimatorRank) = (.full, 0)
    var target = ReferenceModel(full, batch: tiny.batch, parameters: tiny.duals)
    _ = target.forward()
    var reference = ReferenceModel(tiny.model.configuration, batch: tiny.batch, parameters: tiny.duals)
    reference.fit = (1, 4)
    reference.wanted = target.outputs
    _ = reference.forward()

    let found = fitted(tiny, .output)
    for parameter in tiny.layout.parameters {
      for (index, place) in parameter.range.enumerated() {
        let expected = reference.parameters[parameter.name]![index].value
        #expect(
          abs(Double(found.values[place]) - expected) < 2e-5 * max(1, abs(expected)),
          "\(parameter.name)[\(index)]: \(found.values[place]), expected \(expected)")
      }
    }
    // What it is for: each layer is nearer to full precision than by the operands alone.
    let other = fitted(tiny, .leastSquares, rank > 0 ? .closedForm : .gradient)
    if let distance = found.layers.last?.distance, let otherDistance = other.layers.last?.distance {
      #expect(distance < otherDistance)
    }
  }

  /// What the fit says it explains is what the probe finds on the same tokens, and more than any other maps do.
  @Test(arguments: [false, true]) func closedForm(isPerHead: Bool) {
    var configuration = TinyModel.configuration(rank: 1)
    // One set explains all that the probe sees only where there is one head.
    configuration.heads = isPerHead ? 3 : 1
    configuration.hasEstimatorsPerHead = isPerHead
    let tiny = TinyModel(configuration, sequences: 3, length: 9, seed: 6)
    func explained(_ values: [Float]) -> [Double] {
      let parameters = FloatBuffer(count: values.count)
      parameters.view.copy(values)
      return Model.residuals(
        parameters.view, layout: tiny.model, batch: tiny.batch.tokens, ranks: [], perHead: false
      ).map(\.all.scoresExplained)
    }
    let (values, layers) = fitted(tiny, .leastSquares, .closedForm)
    let found = explained(values)
    for (layer, share) in zip(layers, found) {
      #expect(
        layer.scoresExplained! > 0.3 && abs(layer.scoresExplained! - share) < 1e-4, "\(layer), \(share)")
    }
    #expect(values.allSatisfy { $0.isFinite })
    // Small changes of the maps only lose, but for the ridge.
    var draws = Draws(3)
    for parameter in tiny.layout.parameters
    where [".q_m.weight", ".q_p.weight", ".k_m.weight", ".k_p.weight"].contains(where: {
      parameter.name.hasPrefix("bert.encoder.layer.0") && parameter.name.hasSuffix($0)
    }) {
      for _ in 0..<4 {
        var changed = values
        for place in parameter.range { changed[place] += draws.float() * 0.02 }
        #expect(explained(changed)[0] < found[0] + 1e-3, "\(parameter.name)")
      }
    }
  }

  /// Sequences of one token have no scores to tell, constant inputs none of values: it says so, and nothing becomes NaN.
  @Test(arguments: [StepSizeFit.leastSquares, .output]) func nothingToFit(rule: StepSizeFit) {
    let tiny = TinyModel(TinyModel.configuration(rank: 2), sequences: 2, length: 9, seed: 4)
    var tokens = tiny.batch.tokens
    tokens.lengths = [1, 1]
    let parameters = FloatBuffer(count: tiny.layout.elementCount)
    for zeroed in [false, true] {
      parameters.view.copy(tiny.values)
      if zeroed {
        for parameter in tiny.layout.parameters where parameter.kind != .stepSize {
          parameters.view[parameter.range].fill(0)
        }
      }
      let layers = Model.fit(
        parameters.view, layout: tiny.model, batch: tokens, rule: rule, estimators: .closedForm)
      #expect(parameters.view.array.allSatisfy { $0.isFinite })
      for layer in layers {
        #expect(layer.unfitted.contains("the estimators of the scores"))
        #expect(layer.text?.contains("not fitted, since nothing there varies") == true)
      }
    }
  }

  /// The terms of the residual add up, shares are shares, and a rank holds what it says.
  @Test func residuals() {
    let tiny = TinyModel(TinyModel.configuration(rank: 1), sequences: 4, length: 9, seed: 7)
    let parameters = FloatBuffer(count: tiny.layout.elementCount)
    parameters.view.copy(tiny.values)
    let layers = Model.residuals(
      parameters.view, layout: tiny.model, batch: tiny.batch.tokens, ranks: [1, 2], perHead: true)
    #expect(layers.count == 2 && layers[0].heads.count == 3)
    for layer in layers {
      for head in layer.heads {
        let root = head.keyTerm.squareRoot() + head.queryTerm.squareRoot() + head.bothTerm.squareRoot()
        #expect(head.residual > 0 && head.residual.squareRoot() <= root)
        #expect(abs(head.spectrum.reduce(0, +) - head.seenResidual) < 1e-9 * head.seenResidual)
        let rank = head.rank(for: 0.9)
        #expect(head.spectrum[..<rank].reduce(0, +) >= 0.9 * head.seenResidual)
        #expect(head.spectrum[..<(rank - 1)].reduce(0, +) < 0.9 * head.seenResidual)
      }
      #expect(layer.commonShare > 0 && layer.commonShare < 1)
      #expect(layer.attainable.map(\.rank) == [1, 2])
      for share in layer.attainable { #expect(share.shared < layer.commonShare && share.perHead! < 1) }
    }
  }
}
