import Foundation
import Kernels
import TensorFiles
import Testing

/// The elastic quantiser by itself against PyTorch (scripts/pytorch/levels_golden.py), forward and all gradients.
@Suite struct LevelsGoldenTests {
  static let sets = [1, 2, 4, 8].flatMap { bits in
    [true, false].map { LevelSet(bits: bits, isSigned: $0) }
  }

  @Test(arguments: sets) func forwardAndGradients(set: LevelSet) throws {
    let file = try SafetensorsFile(
      path: Bundle.module.bundleURL.appending(path: "Golden/Levels/levels.safetensors").path)
    let prefix = "\(set.isSigned ? "s" : "u")\(set.bits)/"
    func golden(_ name: String) throws -> [Float] { try file.floats(prefix + name) }
    let (rows, columns) = (21, 70)
    var arena = Arena()
    func matrix(_ values: [Float]) -> MatrixView {
      let view = arena.floats(rows * columns)
      for (i, value) in values.enumerated() { view[i] = value }
      return MatrixView(view, rows: rows, columns: columns)
    }
    let x = matrix(try golden("x"))
    let (shift, shiftGradient) = (arena.floats(columns), arena.floats(columns))
    for (i, value) in try golden("b").enumerated() { shift[i] = value }
    let (y, dx, g) = (matrix([]), matrix([]), matrix(try golden("g")))
    let step = try golden("alpha")[0]

    let sum: Double
    if set.isSign {
      let (signs, within) = (
        arena.bits(rows: rows, columns: columns), arena.bits(rows: rows, columns: columns)
      )
      pack(x, shift: shift, step: step, signs: signs, within: within)
      signs.unpack(high: step, low: -step, into: y)
      sum = signBackward(g, signs: signs, within: within, add: false, dx: dx, shiftGradient: shiftGradient)
    } else {
      let operand = LevelOperand(x, shift: shift, step: step, set)
      operand.write(factor: step, into: y)
      sum = operand.backward(g, add: false, dx: dx, shiftGradient: shiftGradient)
    }
    #expect(y.dense.array == (try golden("y")))
    #expect(dx.dense.array == (try golden("dx")))
    for (found, expected) in zip(shiftGradient.array, try golden("db")) {
      #expect(abs(found - expected) <= 1e-5, "gradient of a shift: \(found), expected \(expected)")
    }
    let found = sum / Double(rows * columns * set.highest).squareRoot()
    let expected = Double(try golden("dalpha")[0])
    #expect(
      abs(found - expected) <= 1e-5 * max(1, abs(expected)), "of the step: \(found), expected \(expected)")
    let fitted =
      (set.isSigned ? 2 : 4) * x.sumOfAbsolutes(shift: shift) / Double(rows * columns)
      / Double(set.highest).squareRoot()
    let expectedFit = Double(try golden("fitted")[0])
    #expect(abs(fitted - expectedFit) <= 1e-6 * expectedFit, "fit: \(fitted), expected \(expectedFit)")
    withExtendedLifetime(arena) {}
  }
}
