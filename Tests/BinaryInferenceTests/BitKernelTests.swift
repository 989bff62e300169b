import CBitKernels
import Kernels
import Testing

/// The products that leave bits, and attention on bits, of each instruction set against plain loops and against the kernels
/// that training uses.
struct BitKernelTests {
  private let tables = InstructionSet.available.map { bk_choose($0)! }

  private struct Draws {
    var stream: RandomStream
    init(_ place: UInt32) { stream = CounterRandom(seed: 77, purpose: .heldOut).stream(place) }
    mutating func below(_ bound: Int) -> Int { Int(stream.next(below: UInt32(bound))) }
    mutating func floats(_ count: Int, _ reach: Float = 1) -> [Float] {
      (0..<count).map { _ in reach * (2 * stream.unit() - 1) }
    }
    /// Packed rows of random bits.
    mutating func bits(_ rows: Int, _ columns: Int) -> [UInt64] {
      let words = (columns + 63) / 64
      return (0..<rows * words).map { index in
        let word = UInt64(stream.next()) << 32 | UInt64(stream.next())
        return index % words == words - 1 ? word & (.max >> UInt64((64 - columns % 64) % 64)) : word
      }
    }
  }

  private func interleaved(_ rows: [UInt64], count: Int) -> [UInt64] {
    let words = rows.count / count
    var groups = [UInt64](repeating: 0, count: (count + 7) / 8 * 8 * words)
    bk_interleave(rows, count, words, &groups)
    return groups
  }

  private func name(_ table: UnsafePointer<bk_kernels>) -> String { String(cString: table.pointee.name) }

  /// Depths up to beyond what is rearranged at once, outputs around every tile.
  @Test(arguments: [1, 26, 64, 65, 130, 768, 4096, 4160])
  func bitsAndSums(columns: Int) {
    var draws = Draws(UInt32(columns))
    for (rows, outputs) in [(1, 1), (2, 8), (5, 26), (7, 64), (4, 65), (13, 33), (6, 96), (9, 130)] {
      let (a, b) = (draws.bits(rows, columns), draws.bits(outputs, columns))
      let (words, right, outWords) = (
        (columns + 63) / 64, interleaved(b, count: outputs), (outputs + 63) / 64
      )
      let bias = draws.floats(outputs)
      let low = (0..<outputs).map { _ in Int16(columns / 2 - 4 + draws.below(8)) }
      let high = low.map { $0 + Int16(draws.below(6)) }
      for table in tables {
        var sums = [Float](repeating: 2, count: rows * outputs)
        table.pointee.xnor_add_product(
          a, rows, right, outputs, words, Int32(columns), 0.37, bias, &sums, outputs)
        var one = [UInt64](repeating: .max, count: rows * outWords)
        var two = one
        table.pointee.xnor_bits(a, rows, right, outputs, words, low, nil, &one)
        table.pointee.xnor_bits(a, rows, right, outputs, words, low, high, &two)
        var isRight = true
        for row in 0..<rows {
          for output in 0..<outWords * 64 {
            let found = (one[row * outWords + output / 64], two[row * outWords + output / 64])
            let bits = (found.0 >> UInt64(output % 64) & 1 == 1, found.1 >> UInt64(output % 64) & 1 == 1)
            guard output < outputs else {
              isRight = isRight && bits == (false, false)
              continue
            }
            let count = (0..<words).reduce(0) {
              $0 + (a[row * words + $1] ^ b[output * words + $1]).nonzeroBitCount
            }
            let sum = 2 + bias[output].addingProduct(0.37, Float(columns - 2 * count))
            isRight =
              isRight && bits == (count < low[output], count < low[output] || count >= high[output])
              && sums[row * outputs + output] == sum
          }
        }
        #expect(isRight, "\(name(table)): \(rows)×\(columns) by \(outputs)")
      }
    }
  }

  /// One head from queries to the bits of the context: as product, softmax, binarisation, product and packing one by one.
  @Test(arguments: [1, 8, 26, 64, 65, 128]) func attention(width: Int) {
    var draws = Draws(UInt32(1000 + width))
    for tokens in [1, 2, 15, 16, 17, 24, 63, 64, 65, 100, 129, 300] {
      let rows = 1 + draws.below(Int(BK_ATTENTION_ROWS))
      let (words, tokenWords) = ((width + 63) / 64, (tokens + 63) / 64)
      let queries = draws.bits(rows, width)
      let keys = interleaved(draws.bits(tokens, width), count: tokens)
      let values = interleaved(draws.bits(width, tokens), count: width)
      let (extra, valueEstimates) = (draws.floats(rows * tokens, 4), draws.floats(tokens))
      let shift = draws.floats(width, 0.2)
      let hasEstimates = tokens % 2 == 0
      let step = tokens == 16 ? 1e-5 : 2 * (1 + draws.stream.unit()) / Float(tokens)
      let first = draws.below(70)
      let rowWords = (first + width + 63) / 64

      let plain = bk_choose("portable")!.pointee
      var scores = [Float](repeating: 0, count: rows * tokens)
      plain.xnor_product(queries, rows, keys, tokens, words, Int32(width), 0.31, nil, &scores, tokens)
      plain.softmax(&scores, hasEstimates ? extra : nil, rows, tokens, tokens, 0.4)
      var bits = [UInt64](repeating: 0, count: rows * tokenWords)
      plain.binarise_probabilities(scores, nil, 1, rows, tokens, step, &bits)
      var rowBias = [Float](repeating: 0, count: rows)
      if hasEstimates { plain.sum_set_elements(bits, rows, tokens, valueEstimates, step, &rowBias) }
      var context = [Float](repeating: 0, count: rows * width)
      plain.and_product(bits, rows, values, width, tokenWords, 0.7 * step, rowBias, &context, width)
      var packed = [UInt64](repeating: 0, count: rows * words)
      plain.pack(context, rows, width, width, shift, 0, &packed, nil)

      for table in tables {
        var own = [UInt64](repeating: 0, count: rows * rowWords)
        let room = UnsafeMutableRawPointer.allocate(byteCount: bk_attention_room(tokens), alignment: 64)
        defer { room.deallocate() }
        keys.withUnsafeBufferPointer { keys in
          values.withUnsafeBufferPointer { values in
            valueEstimates.withUnsafeBufferPointer { estimates in
              shift.withUnsafeBufferPointer { shift in
                var head = bk_head(
                  tokens: tokens, width: width, keys: keys.baseAddress, values: values.baseAddress,
                  score_scale: 0.31, score_factor: 0.4, step: step, value_scale: 0.7 * step,
                  value_estimates: hasEstimates ? estimates.baseAddress : nil, shift: shift.baseAddress,
                  first: first)
                table.pointee.attend(
                  &head, queries, rows, hasEstimates ? extra : nil, tokens, room, &own, rowWords)
              }
            }
          }
        }
        var cut = [UInt64](repeating: .max, count: rows * words)
        bk_cut_columns(own, rows, rowWords, first, width, &cut)
        #expect(cut == packed, "\(name(table)): \(rows) queries, \(tokens) tokens, width \(width)")
        // Nothing is set beside the head's own columns.
        let set = own.reduce(0) { $0 + $1.nonzeroBitCount }
        #expect(set == packed.reduce(0) { $0 + $1.nonzeroBitCount }, "\(name(table))")
      }
    }
  }
}
