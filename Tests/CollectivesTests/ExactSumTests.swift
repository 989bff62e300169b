import Collectives
import Kernels
import Testing

/// Tests of sums of gradients as integers: ranks are played by one process, which hands lanes out as it likes.
@Suite struct ExactSumTests {
  /// Tensors with gaps, a small one beside a large one, and one over several blocks.
  private static let tensors = [0..<70_000, 70_016..<70_024, 70_032..<200_001]
  private static let count = 200_064

  private struct Lanes {
    let gradients: [[Float]]

    init(_ lanes: Int, factor: Float = 1) {
      gradients = (0..<lanes).map { lane in
        var values = gradient(lane: lane, count: ExactSumTests.count).map { $0 * factor }
        for gap in [70_000..<70_016, 70_024..<70_032, 200_001..<200_064] {
          for element in gap { values[element] = 0 }
        }
        return values
      }
    }
  }

  private struct Outcome: Equatable {
    var total: [UInt32] = []
    var powers: [SumPowers] = []
    var rounds = 0
  }

  /// A step in which rank r does the lanes `assignment[r]`, in that order, and the ranks' integers are added in order `ranks`.
  private func step<Integer: SummedInteger>(
    _: Integer.Type, _ lanes: Lanes, assignment: [[Int]], ranks: [Int], powers: inout SumPowers,
    blockSize: Int, step: Int, backwards: Bool = false
  ) -> Outcome {
    let pieces = SumPieces(tensors: Self.tensors, blockSize: blockSize)
    var outcome = Outcome()
    while true {
      outcome.rounds += 1
      var bounds = SumBounds(count: pieces.ranges.count)
      var total = [Integer](repeating: 0, count: Self.count)
      for rank in ranks {
        var sum = ExactSum<Integer>(count: Self.count, pieces: pieces)
        sum.clear()
        for lane in assignment[rank] {
          var gradient = lanes.gradients[lane]
          gradient.withUnsafeMutableBufferPointer { values in
            let view = FloatView(base: values.baseAddress!, count: values.count)
            // In parts, as layers become complete, the last first.
            let parts = [0..<70_016, 70_016..<70_032, 70_032..<Self.count]
            for part in backwards ? parts.reversed() : parts {
              sum.add(view[part], at: part, powers: powers)
            }
          }
          sum.note(powers: powers)
        }
        sum.complete()
        bounds += sum.bounds
        for element in total.indices { total[element] &+= sum.sums[element] }
      }
      #expect(bounds.isFinite)
      if powers.raise(for: bounds, pieces: pieces, largest: Integer.largestTotal) { continue }
      let result = ExactSum<Integer>(count: Self.count, pieces: pieces)
      for element in total.indices { result.sums[element] = total[element] }
      let values = FloatBuffer(count: Self.count)
      values.view.fill(0)
      result.read(0..<Self.count, powers: powers, into: values.view)
      outcome.total = bits(values.view.array)
      powers.follow(bounds, pieces: pieces, largest: Integer.largestTotal, step: step)
      outcome.powers.append(powers)
      return outcome
    }
  }

  private func newPowers(blockSize: Int) -> SumPowers {
    SumPowers(count: SumPieces(tensors: Self.tensors, blockSize: blockSize).ranges.count)
  }

  @Test func piecesEndAtTensorsAndBlocks() {
    let pieces = SumPieces(tensors: Self.tensors, blockSize: 65_536)
    #expect(
      pieces.ranges == [
        0..<65_536, 65_536..<70_000, 70_016..<70_024, 70_032..<131_072, 131_072..<196_608, 196_608..<200_001,
      ])
    #expect(pieces.pieces(in: 0..<Self.count) == 0..<6)
    #expect(pieces.pieces(in: 0..<65_536) == 0..<1)
    #expect(pieces.pieces(in: 70_000..<70_032) == 2..<3)
    #expect(pieces.pieces(in: 70_000..<70_016).isEmpty)
    #expect(pieces.pieces(in: 131_072..<Self.count) == 4..<6)
  }

  @Test func anyOrderOnAnyRanksHasTheSameBits() {
    let lanes = Lanes(7)
    func outcomes<Integer: SummedInteger>(_ type: Integer.Type, blockSize: Int) {
      var random = CounterRandom(seed: 11, purpose: .initialisation).stream(0)
      var expected: [Outcome] = []
      for (index, ranks) in [1, 2, 3, 4, 7, 7].enumerated() {
        var powers = newPowers(blockSize: blockSize)
        for number in 1...2 {
          var order = Array(0..<7)
          random.shuffle(&order)
          // Everyone may have any number of lanes, also none.
          var assignment = [[Int]](repeating: [], count: ranks)
          for lane in order { assignment[Int(random.next(below: UInt32(ranks)))].append(lane) }
          var places = Array(0..<ranks)
          random.shuffle(&places)
          let outcome = step(
            type, lanes, assignment: assignment, ranks: places, powers: &powers, blockSize: blockSize,
            step: number, backwards: index % 2 == 1)
          if index == 0 { expected.append(outcome) }
          #expect(outcome == expected[number - 1], "\(ranks) ranks, \(assignment), step \(number)")
        }
      }
      #expect(expected[0].rounds > 1, "nothing is known before the first step")
      #expect(expected[1].rounds == 1)
    }
    outcomes(UInt32.self, blockSize: 65_536)
    outcomes(UInt16.self, blockSize: 1_024)
  }

  /// Each lane is rounded once, to a unit that leaves no more than the headroom and a bit free.
  @Test(arguments: [Float(1e-9), 1, 1e6]) func theTotalIsCloseToThatInDoublePrecision(factor: Float) {
    let lanes = Lanes(8, factor: factor)
    func check<Integer: SummedInteger>(_ type: Integer.Type, blockSize: Int) {
      var powers = newPowers(blockSize: blockSize)
      func next(_ number: Int) -> (outcome: Outcome, powers: SumPowers) {
        let before = powers
        let outcome = step(
          type, lanes, assignment: [Array(0..<8)], ranks: [0], powers: &powers, blockSize: blockSize,
          step: number)
        return (outcome, before)
      }
      _ = next(1)
      let (outcome, used) = next(2)
      #expect(outcome.rounds == 1)
      for (piece, range) in SumPieces(tensors: Self.tensors, blockSize: blockSize).ranges.enumerated() {
        let unit = Double(sign: .plus, exponent: used[piece], significand: 1)
        let bound = lanes.gradients.reduce(0) { $0 + Double($1[range].map(abs).max()!) }
        #expect(
          unit * Double(Integer.largestTotal >> 3) <= bound + 8 * unit, "piece \(piece), \(Integer.self)")
        for element in range {
          let exact = lanes.gradients.reduce(0) { $0 + Double($1[element]) }
          let error = abs(Double(Float(bitPattern: outcome.total[element])) - exact)
          if error > 4 * unit + abs(exact) * 0x1p-23 {
            Issue.record("element \(element), \(Integer.self): off by \(error), the unit is \(unit)")
            return
          }
        }
      }
    }
    check(UInt32.self, blockSize: 65_536)
    check(UInt16.self, blockSize: 1_024)
  }

  /// A matrix that comes in blocks, whose rows pieces cut anywhere, adds up to what it does as a whole.
  @Test(arguments: [1, 7, 48, 120, 1023, 3000]) func blocksAddUpToTheWhole(columns: Int) {
    func check<Integer: SummedInteger>(_: Integer.Type, blockSize: Int) {
      let (start, rows) = (1000, 200_000 / columns)
      let count = start + rows * columns
      let pieces = SumPieces(tensors: [0..<1000, 1000..<count], blockSize: blockSize)
      let values = FloatBuffer(count: count)
      for (i, value) in gradient(lane: 3, count: count).enumerated() { values.view[i] = value }
      values.view[0..<start].fill(0)
      let powers = SumPowers(
        exponents: [Int8](repeating: Integer.self == UInt32.self ? -16 : 0, count: pieces.ranges.count))!
      var whole = ExactSum<Integer>(count: count, pieces: pieces)
      let copy = FloatBuffer(count: count)
      copy.view.copy(from: values.view)
      whole.add(copy.view, at: 0..<count, powers: powers)
      whole.note(powers: powers)
      var blocks = ExactSum<Integer>(count: count, pieces: pieces)
      for firstRow in stride(from: 0, to: rows, by: 33) {
        for first in stride(from: 0, to: columns, by: 48) {
          let offset = start + firstRow * columns + first
          blocks.addBlock(
            values.view.base + offset, valueStride: columns, rows: min(33, rows - firstRow),
            columns: min(48, columns - first), at: offset, stride: columns, powers: powers)
        }
      }
      blocks.note(powers: powers)
      #expect(blocks.bounds == whole.bounds)
      #expect((0..<count).allSatisfy { blocks.sums[$0] == whole.sums[$0] })
      #expect(whole.sums[0..<count].contains { $0 != 0 })
    }
    check(UInt32.self, blockSize: 65_536)
    check(UInt16.self, blockSize: 1_024)
  }

  /// What is written instead of added, and what nobody writes, in memory that has another step's sums.
  @Test func sumsOfTheStepBeforeAreGone() {
    func check<Integer: SummedInteger>(_: Integer.Type) {
      let pieces = SumPieces(tensors: [0..<100, 100..<1000, 1000..<1100, 1100..<1200], blockSize: 512)
      let powers = SumPowers(exponents: [Int8](repeating: 0, count: pieces.ranges.count))!
      var sum = ExactSum<Integer>(count: 1200, pieces: pieces)
      let values = FloatBuffer(count: 1200)
      func add(_ value: Float, at range: Range<Int>) {
        values.view[range].fill(value)
        sum.add(values.view[range], at: range, powers: powers)
      }
      add(7, at: 0..<1200)
      sum.note(powers: powers)
      sum.clear()
      // The last tensor gets nothing, the third zeros alone at first, the second only some elements.
      add(0, at: 1000..<1100)
      add(3, at: 0..<100)
      sum.note(powers: powers)
      sum.beginPart(of: 100..<1000)
      values.view[200..<210].fill(2)
      sum.addBlock(
        values.view.base + 200, valueStride: 10, rows: 1, columns: 10, at: 200, stride: 10, powers: powers)
      add(1, at: 1000..<1100)
      add(4, at: 0..<100)
      sum.note(powers: powers)
      sum.complete()
      for i in 0..<1200 {
        let expected: Integer = i < 100 ? 7 : i < 1000 ? ((200..<210).contains(i) ? 2 : 0) : i < 1100 ? 1 : 0
        #expect(sum.sums[i] == expected, "element \(i)")
      }
    }
    check(UInt32.self)
    check(UInt16.self)
  }

  @Test func powersThatAreTooSmallAreFoundOut() {
    let lanes = Lanes(4)
    var powers = newPowers(blockSize: 65_536)
    func next(_ assignment: [[Int]]) -> Outcome {
      step(
        UInt32.self, lanes, assignment: assignment, ranks: Array(assignment.indices), powers: &powers,
        blockSize: 65_536, step: 1)
    }
    _ = next([[0, 1, 2, 3]])
    let expected = next([[0, 1, 2, 3]])
    // Pieces of a power so small that nothing fits any more.
    var exponents = powers.exponents
    exponents[1] -= 3
    exponents[4] = Int8(-100)
    powers = SumPowers(exponents: exponents)!
    let start = powers
    let (one, afterOne) = (next([[0, 1, 2, 3]]), powers)
    powers = start
    let (two, afterTwo) = (next([[3, 1], [2, 0]]), powers)
    #expect(one == two && afterOne == afterTwo)
    #expect(one.rounds > 1)
    #expect(expected.rounds == 1)
    #expect(SumPowers(exponents: [-128]) == nil)
  }

  @Test func powersReadBackFromTheirText() {
    let powers = SumPowers(exponents: [-3, -3, -3, 4, -110, 90, 90])!
    #expect(powers.text == "-3*3 4 -110 90*2")
    #expect(SumPowers(text: powers.text, count: 7) == powers)
    for damaged in [
      "", "-3*3 4 -110 90", "-3*3 4 -110 90*3", "-3*3 4 -111 90*2", "-3*-1 4", "x", "1*2*3", "*7",
    ] {
      #expect(SumPowers(text: damaged, count: 7) == nil, "\(damaged)")
    }
    #expect(SumPowers(text: "1*9223372036854775807", count: 7) == nil)
    #expect(SumPowers(text: "", count: 0)?.exponents == [])
  }

  @Test func powersRiseAtOnceAndFallSlowly() {
    let pieces = SumPieces(tensors: [0..<1, 1..<2], blockSize: 1)
    var powers = SumPowers(exponents: [0, 0])!
    var large = SumBounds(count: 2)
    large.add(0x1p31, piece: 0, power: 0)
    let isRaised = powers.raise(for: large, pieces: pieces, largest: UInt32.largestTotal)
    #expect(isRaised)
    #expect(powers.exponents == [3, 0], "2^31 of 2^31 - 1, with two bits free")
    var small = SumBounds(count: 2)
    small.add(1, piece: 0, power: 3)
    for step in 1...160 { powers.follow(small, pieces: pieces, largest: UInt32.largestTotal, step: step) }
    #expect(powers.exponents == [-7, 0], "one every 16 steps; of a piece without gradient nothing is learnt")
    // Those of a table stay together.
    let table = SumPieces(tensors: [0..<2], blockSize: 1, tables: [0..<2])
    var together = SumPowers(exponents: [0, -20])!
    let isLifted = together.raise(for: large, pieces: table, largest: UInt32.largestTotal)
    #expect(isLifted && together.exponents == [3, 0])
    for step in 1...160 { together.follow(small, pieces: table, largest: UInt32.largestTotal, step: step) }
    #expect(together.exponents == [-3, 0])
    for value in [Float.nan, .infinity, .greatestFiniteMagnitude, 0x1p80] {
      var lane = SumBounds(count: 2)
      lane.add(value, piece: 1, power: 0)
      #expect(!lane.isFinite)
      lane.clear()
      #expect(lane.isFinite)
    }
  }
}
