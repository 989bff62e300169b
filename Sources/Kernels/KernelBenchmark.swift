import CBitKernels

/// Operations a second that one core reaches with the kernels in use in loops on registers alone; 0 where none is known.
public struct KernelPeaks: Sendable {
  /// Products of bits: exclusive or, count, and add.
  public let bits: Double
  public let bytes: Double
  /// Products of bfloat16 numbers by an instruction of their own.
  public let bfloat16: Double
  /// Fused multiply-adds.
  public let float32: Double

  /// Measures them on the calling thread, in its processor time.
  public init() {
    bits = bk_peak_popcount(InstructionSet.table)
    bytes = bk_peak_bytes(InstructionSet.table)
    bfloat16 = bk_peak_bfloat16(InstructionSet.table)
    float32 = bk_peak_float32(InstructionSet.table)
  }
}

/// Processor time of the calling thread so far: what other work on the machine takes does not count.
public func threadSeconds() -> Double { bk_thread_seconds() }

/// One product of a benchmark, on the calling thread alone.
public struct KernelTiming: Sendable {
  public let kernel: String
  /// M, K and N of the product.
  public let shape: (Int, Int, Int)
  public let seconds: Double
  /// Operations a second: 2·M·K·N over the time.
  public let rate: Double
  /// Operations a second of a loop on registers alone; nil where none is known.
  public let peak: Double?

  /// `rate` as a share of the peak.
  public var share: Double? { peak.map { rate / $0 } }
}

/// Times the products of a binary linear layer of M rows, K inputs and N outputs with the kernels in use, and of a
/// full-precision one in bfloat16, on the calling thread, in its processor time; the fastest of `repeats`. Call before
/// `startThreads`.
public func benchmarkProducts(
  rows: Int, inputs: Int, outputs: Int, repeats: Int, peaks: KernelPeaks
) -> [KernelTiming] {
  precondition(threadCount == 1, "benchmarks of kernels run on one thread")
  var arena = Arena()
  let input = arena.bits(rows: rows, columns: inputs)
  let within = arena.bits(rows: rows, columns: inputs)
  let weight = arena.bits(rows: outputs, columns: inputs)
  var random = CounterRandom(seed: 1, purpose: .initialisation).stream(0)
  for bits in [input, within, weight] {
    for i in 0..<bits.rows * bits.words {
      bits.base[i] = UInt64(random.next()) << 32 | UInt64(random.next())
    }
    let unused = UInt64.max >> UInt64((64 - bits.columns % 64) % 64)
    for row in 0..<bits.rows { bits.base[(row + 1) * bits.words - 1] &= unused }
  }
  let interleaved = arena.interleavedBits(rows: outputs, columns: inputs)
  interleaved.interleave(weight)
  let out = MatrixView(arena.floats(rows * outputs), rows: rows, columns: outputs)
  for i in 0..<rows * outputs { out.base[i] = random.unit() - 0.5 }
  let dx = MatrixView(arena.floats(rows * inputs), rows: rows, columns: inputs)
  let dWeight = MatrixView(arena.floats(outputs * inputs), rows: outputs, columns: inputs)
  let (shift, bias) = (arena.floats(inputs), arena.floats(outputs))
  let rounded = RoundedGradient(rows: rows, columns: outputs, outputs: inputs, in: &arena)
  let draw = BackwardRounding(seed: 1).draw(place: 0, epoch: 0, sample: 0)
  let halves = Bfloat16Gradient(rows: rows, columns: outputs, outputs: inputs, in: &arena)
  let packed = Bfloat16Matrix(rows: outputs, columns: inputs, in: &arena)
  let dense = MatrixView(arena.floats(rows * inputs), rows: rows, columns: inputs)
  for i in 0..<rows * inputs { dense.base[i] = random.unit() - 0.5 }
  for i in 0..<outputs * inputs { dWeight.base[i] = random.unit() - 0.5 }
  packed.pack(dWeight)
  let operations = 2.0 * Double(rows) * Double(inputs) * Double(outputs)
  // Without an instruction of their own these products are fused multiply-adds of float32.
  let bfloat16Peak = peaks.bfloat16 > 0 ? peaks.bfloat16 : peaks.float32

  func time(_ name: String, _ operations: Double, peak: Double, _ body: () -> Void) -> KernelTiming {
    var best = Double.infinity
    for _ in 0...repeats {
      let start = bk_thread_seconds()
      body()
      best = min(best, bk_thread_seconds() - start)
    }
    return KernelTiming(
      kernel: name, shape: (rows, inputs, outputs), seconds: best, rate: operations / best,
      peak: peak > 0 ? peak : nil)
  }
  let rounding = time("round to int8", 0, peak: 0) {
    rounded.round(out, draw: draw, addingColumnSumsTo: bias)
  }
  let backward = time("int8 dX and dW", 2 * operations, peak: peaks.bytes) {
    _ = rounded.products(
      out, weight: weight, weightScale: 1, input: .signs(input, within: within, step: 1),
      weightGradient: .view(dWeight),
      add: true, dx: dx, shiftGradient: shift)
  }
  let roundingToHalves = time("round to bf16", 0, peak: 0) {
    halves.round(out, addingColumnSumsTo: bias)
  }
  let backwardOnHalves = time("bf16 dX and dW", 2 * operations, peak: bfloat16Peak) {
    _ = halves.products(
      out, weight: weight, weightScale: 1, input: .signs(input, within: within, step: 1),
      weightGradient: .view(dWeight),
      add: true, dx: dx, shiftGradient: shift)
  }
  let linear = time("bf16 linear", operations, peak: bfloat16Peak) {
    bfloat16Product(dense, packed, bias: bias, into: out)
  }
  let forward = time("xnor forward", operations, peak: peaks.bits) {
    xnorProduct(input, interleaved, scale: 1, bias: nil, into: out)
  }
  return withExtendedLifetime(arena) {
    [forward, rounding, backward, roundingToHalves, backwardOnHalves, linear]
  }
}
