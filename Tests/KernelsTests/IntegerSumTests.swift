import Kernels
import Testing

extension KernelSuites {
  /// Gradients as integers against the definition in double precision, on every instruction set.
  @Suite struct IntegerSums {
    private func withEverySet(_ body: (String) throws -> Void) throws {
      for set in InstructionSet.available {
        try InstructionSet.select(set)
        try body(set)
      }
      try InstructionSet.select(InstructionSet.available[0])
    }

    /// Values · 2^−power as they must be rounded; wrapping is left to the sum.
    private func multiples(_ values: [Float], power: Int) -> [Int64] {
      values.map {
        Int64(Double(sign: .plus, exponent: -power, significand: Double($0)).rounded(.toNearestOrEven))
      }
    }

    @Test(arguments: [1, 15, 16, 17, 64, 257]) func roundedOnceAndAdded(count: Int) throws {
      try withEverySet { set in
        var draws = Draws(UInt32(count))
        let (x, y) = (draws.floats(count, -1...1), draws.floats(count, -1...1))
        // The largest magnitude is just below 2^31 and 2^15; halves are ties.
        for power in [-30, -25, -7, -1] {
          var sums = [UInt32](repeating: 0, count: count)
          let largest = UInt32.add(copyOf: x, power: power, to: &sums)
          _ = UInt32.add(copyOf: y, power: power, to: &sums)
          let expected = zip(multiples(x, power: power), multiples(y, power: power)).map {
            UInt32(truncatingIfNeeded: $0 + $1)
          }
          #expect(sums == expected, "\(set), 2^\(power)")
          #expect(largest == x.map(abs).max(), "\(set)")
          var read = [Float](repeating: 0, count: count)
          UInt32.read(sums, count: count, power: power, into: &read)
          #expect(
            read
              == expected.map {
                Float(sign: .plus, exponent: power, significand: Float(Int32(bitPattern: $0)))
              },
            "\(set)")
        }
        for power in [-14, -7, -1] {
          var sums = [UInt16](repeating: 0, count: count)
          let largest = UInt16.add(copyOf: x, power: power, to: &sums)
          _ = UInt16.add(copyOf: y, power: power, to: &sums)
          let expected = zip(multiples(x, power: power), multiples(y, power: power)).map {
            UInt16(truncatingIfNeeded: $0 + $1)
          }
          #expect(sums == expected, "\(set), 2^\(power)")
          #expect(largest == x.map(abs).max(), "\(set)")
          var read = [Float](repeating: 0, count: count)
          UInt16.read(sums, count: count, power: power, into: &read)
          #expect(
            read
              == expected.map {
                Float(sign: .plus, exponent: power, significand: Float(Int16(bitPattern: $0)))
              },
            "\(set)")
        }
      }
    }

    @Test func tiesGoToEven() throws {
      try withEverySet { set in
        let x: [Float] = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5]
        var sums = [UInt32](repeating: 10, count: 6)
        _ = UInt32.add(copyOf: x, power: 0, to: &sums)
        #expect(sums == [10, 12, 12, 10, 8, 8], "\(set)")
      }
    }

    /// What is too large or no number does nothing but show in the magnitude.
    @Test(arguments: [Float.infinity, -.infinity, .nan, -.nan, .greatestFiniteMagnitude, -1e30])
    func whatDoesNotFitShows(value: Float) throws {
      try withEverySet { set in
        for (count, place) in [(1, 0), (16, 15), (37, 5), (37, 36)] {
          var x = [Float](repeating: 1, count: count)
          x[place] = value
          var (wide, short) = ([UInt32](repeating: 0, count: count), [UInt16](repeating: 0, count: count))
          for largest in [
            UInt32.add(copyOf: x, power: 0, to: &wide),
            UInt16.add(copyOf: x, power: 0, to: &short),
          ] {
            #expect(largest.isFinite == value.isFinite, "\(set)")
            if value.isFinite { #expect(largest == abs(value), "\(set)") }
          }
          for other in 0..<count where other != place {
            #expect(wide[other] == 1 && short[other] == 1, "\(set), element \(other)")
          }
        }
      }
    }
  }
}

extension SummedInteger {
  /// Adds a copy of `values`, of which nothing must be left.
  static func add(copyOf values: [Float], power: Int, to sums: inout [Self]) -> Float {
    var copy = values
    let largest = add(&copy, count: copy.count, power: power, to: &sums)
    #expect(copy.allSatisfy { $0 == 0 })
    return largest
  }
}
