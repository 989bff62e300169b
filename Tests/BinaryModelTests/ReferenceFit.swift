import BinaryModel

/// The fit to what the model at full precision puts out (`StepSizeFit.output`), in plain loops.
extension ReferenceModel {
  private var realRows: [Int] {
    (0..<batch.sequences).flatMap { b in
      (0..<Int(batch.tokens.lengths[b])).map { b * batch.length + $0 }
    }
  }

  /// Slope and intercepts of the regression of `target` on y: N×O, one slope for all channels, an intercept each.
  mutating func fitOutput(_ y: [Double], to target: [Double], _ name: String, _ outputs: Int) {
    func mean(_ x: [Double], _ column: Int) -> Double {
      realRows.reduce(0) { $0 + x[$1 * outputs + column] } / Double(realRows.count)
    }
    var (product, square) = (0.0, 0.0)
    for column in 0..<outputs {
      let (a, b) = (mean(y, column), mean(target, column))
      for row in realRows {
        product += (y[row * outputs + column] - a) * (target[row * outputs + column] - b)
        square += (y[row * outputs + column] - a) * (y[row * outputs + column] - a)
      }
    }
    let slope = product / square
    guard slope > 0 else { return }
    let step = parameters[name + ".input_clip_val"]![0].value
    parameters[name + ".input_clip_val"]![0] = Dual(step * slope)
    for column in 0..<outputs {
      let bias = parameters[name + ".bias"]![column].value
      parameters[name + ".bias"]![column] = Dual(mean(target, column) - slope * (mean(y, column) - bias))
    }
  }

  /// The factor of both step sizes from scores less their mean a row.
  mutating func fitScores(_ q: [Double], _ k: [Double], _ name: String) {
    let (size, width) = (configuration.hiddenSize, configuration.headSize)
    let (query, key) = (wanted![name + "query"]!, wanted![name + "key"]!)
    var (product, square) = (0.0, 0.0)
    for b in 0..<batch.sequences {
      let tokens = b * batch.length..<b * batch.length + Int(batch.tokens.lengths[b])
      for head in 0..<configuration.heads {
        for i in tokens {
          func row(_ a: [Double], _ b: [Double]) -> [Double] {
            let scores = tokens.map { j in
              (head * width..<(head + 1) * width).reduce(0) { $0 + a[i * size + $1] * b[j * size + $1] }
            }
            let mean = scores.reduce(0, +) / Double(scores.count)
            return scores.map { $0 - mean }
          }
          for (z, t) in zip(row(q, k), row(query, key)) {
            (product, square) = (product + z * t, square + z * z)
          }
        }
      }
    }
    let factor = (product / square).squareRoot()
    guard factor > 0 else { return }
    for operand in ["clip_query", "clip_key"] {
      parameters[name + operand]![0] = Dual(parameters[name + operand]![0].value * factor)
    }
  }

  /// The step size of the values, by which the context comes nearest.
  mutating func fitContext(_ probabilities: [Double], _ values: [Double], _ name: String) {
    let (size, width, length) = (configuration.hiddenSize, configuration.headSize, batch.length)
    let (target, step) = (wanted![name + "context"]!, parameters[name + "clip_attn"]![0].value)
    var (product, square) = (0.0, 0.0)
    for b in 0..<batch.sequences {
      let count = Int(batch.tokens.lengths[b])
      for head in 0..<configuration.heads {
        for i in 0..<count {
          for d in head * width..<(head + 1) * width {
            var z = 0.0
            for j in 0..<count {
              let p = probabilities[((b * configuration.heads + head) * length + i) * length + j]
              if p > step / 2 { z += values[(b * length + j) * size + d] >= 0 ? 1 : -1 }
            }
            product += z * target[(b * length + i) * size + d]
            square += z * z
          }
        }
      }
    }
    guard product > 0 else { return }
    parameters[name + "clip_value"]![0] = Dual(product / square / step)
  }
}
