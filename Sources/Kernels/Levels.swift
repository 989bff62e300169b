import CBitKernels

/// The integers that an operand of n bits takes, in units of its step size: signed −2ⁿ⁻¹ … 2ⁿ⁻¹ − 1, unsigned 0 … 2ⁿ − 1. One signed
/// bit is apart: ±1, the sign.
///
/// Source: BiT (Liu et al. 2022), "elastic binarization", of which METHOD has the case of one bit.
public struct LevelSet: Equatable, Sendable {
  public let bits: Int
  public let isSigned: Bool

  /// - Precondition: 1 to 8 bits.
  public init(bits: Int, isSigned: Bool) {
    precondition((1...8).contains(bits), "levels of \(bits) bits")
    self.bits = bits
    self.isSigned = isSigned
  }

  /// The set with a step size.
  func levels(step: Float) -> bk_levels { bk_level_set(Int32(bits), isSigned, step) }

  /// Whether it is ±1.
  public var isSign: Bool { bits == 1 && isSigned }
  public var lowest: Int { Int(levels(step: 1).low) }
  public var highest: Int { Int(levels(step: 1).high) }
  /// The largest |q|.
  public var largest: Int { max(-lowest, highest) }

  /// Sums of integers up to this are exact in float32, in whatever order.
  public static let largestSum = Int(BK_LARGEST_SUM)

  /// How many inputs a linear layer may have so that its sums are exact.
  public var mostInputs: Int { Self.largestSum / (1 << bits - 1) }

  /// How many terms the sum of products with another operand may have so that it is exact.
  public func mostTerms(with other: LevelSet) -> Int { Self.largestSum / (largest * other.largest) }
}

/// An operand of n bits, as what it is made of:
///
///     v = (x + b) / α     q = the integer nearest to v, ties to even, within the set     operand = α q
///
/// Legend: N rows, I columns.
public struct LevelOperand {
  /// N×I
  public let x: MatrixView
  /// I: b; nil for none.
  public let shift: FloatView?
  /// α
  public let step: Float
  public let set: LevelSet

  /// - Precondition: the set is not ±1, which has kernels of its own.
  public init(_ x: MatrixView, shift: FloatView?, step: Float, _ set: LevelSet) {
    precondition(!set.isSign, "one signed bit as levels")
    precondition(
      shift == nil || shift!.count == x.columns, "a shift of \(shift?.count ?? 0) for \(x.columns) columns")
    self.x = x
    self.shift = shift
    self.step = step
    self.set = set
  }

  public subscript(rows range: Range<Int>) -> LevelOperand {
    LevelOperand(x[rows: range], shift: shift, step: step, set)
  }

  public subscript(columns range: Range<Int>) -> LevelOperand {
    LevelOperand(x[columns: range], shift: shift.map { $0[range] }, step: step, set)
  }

  var levels: bk_levels { self.set.levels(step: step) }

  /// Writes factor·q: N×I, which may be x. On the calling thread alone.
  public func writeSerial(factor: Float, into out: MatrixView) {
    precondition(
      out.rows == x.rows && out.columns == x.columns,
      "levels of \(x.rows)×\(x.columns) into \(out.rows)×\(out.columns)")
    withUnsafePointer(to: levels) { levels in
      InstructionSet.table.pointee.levels(
        x.base, x.rows, x.columns, x.stride, shift?.base, levels, factor, out.base, out.stride)
    }
  }

  /// `writeSerial` in parallel over rows.
  public func write(factor: Float, into out: MatrixView) {
    parallelPanels(x.rows, LevelProducts.rowPanel) { range, _ in
      self[rows: range].writeSerial(factor: factor, into: out[rows: range])
    }
  }

  /// From the gradient g of α q to that of x, where g passes if v is within the set, else 0; on the calling thread alone.
  ///
  /// - Parameters:
  ///   - g: N×I.
  ///   - dx: N×I, written or added to; may be g.
  ///   - shiftGradient: I, to which the column sums are added, or nil.
  /// - Returns: Σ g·(v below the set: its lowest; above: its highest; else q − v), for the gradient of α.
  public func backwardSerial(_ g: MatrixView, add: Bool, dx: MatrixView, shiftGradient: FloatView?) -> Double
  {
    precondition(
      g.rows == x.rows && g.columns == x.columns && dx.rows == x.rows && dx.columns == x.columns
        && (shiftGradient.map { $0.count == x.columns } ?? true), "levels backward of \(g.rows)×\(g.columns)")
    return withUnsafePointer(to: levels) { levels in
      InstructionSet.table.pointee.level_backward(
        g.base, g.stride, x.base, x.stride, shift?.base, levels, x.rows, x.columns, add, dx.base, dx.stride,
        shiftGradient?.base)
    }
  }

  /// `backwardSerial` in parallel over panels of columns, whose sums are added in their order.
  public func backward(_ g: MatrixView, add: Bool, dx: MatrixView, shiftGradient: FloatView?) -> Double {
    let panel = 64
    let panels = (x.columns + panel - 1) / panel
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: panels) { sums in
      parallelPanels(x.columns, panel) { range, _ in
        sums[range.lowerBound / panel] = self[columns: range].backwardSerial(
          g[columns: range], add: add, dx: dx[columns: range], shiftGradient: shiftGradient.map { $0[range] })
      }
      return sums.reduce(0, +)
    }
  }
}

/// Products of operands of n bits with ±1, plane by plane of the bits, for as many inputs at most:
///
///     Σ q w = 2 Σ_k W_k pop(c_k ∧ a) − Σ q     q = Σ_k W_k c_k in two's complement, w = 2 a − 1
///
/// Legend: N rows, I inputs, O outputs.
public struct LevelProducts {
  /// Rows that one step of a parallel product handles.
  static let rowPanel = 96
  /// For each thread: the planes of one panel of rows.
  private let planes: [UnsafeMutablePointer<UInt64>]
  private let inputs: Int
  private let bits: Int

  /// Call `startThreads` before.
  ///
  /// - Cost: for each thread 96·inputs/8 bytes a bit.
  public init(inputs: Int, bits: Int, in arena: inout Arena) {
    self.inputs = inputs
    self.bits = bits
    var planes: [UnsafeMutablePointer<UInt64>] = []
    for _ in 0..<threadCount { planes.append(arena.words(Self.rowPanel * ((inputs + 63) / 64) * bits)) }
    self.planes = planes
  }

  /// out = scale·(Q Wᵀ) + bias, the sums of integers exact.
  ///
  /// - Parameters:
  ///   - q: N×I.
  ///   - w: O×I signs.
  ///   - bias: O, or nil.
  ///   - out: N×O.
  /// - Cost: N·I to quantise, n·N·I·O / 64 word operations.
  public func product(
    _ q: LevelOperand, _ w: InterleavedView, scale: Float, bias: FloatView?, into out: MatrixView
  ) {
    let x = q.x
    precondition(
      x.columns == w.columns && out.rows == x.rows && out.columns == w.rows,
      "\(x.rows)×\(x.columns) by \(w.rows)×\(w.columns) transposed into \(out.rows)×\(out.columns)")
    precondition(
      x.columns <= inputs && q.set.bits <= bits && x.columns <= q.set.mostInputs,
      "\(x.columns) inputs of \(q.set.bits) bits, memory for \(inputs) of \(bits)")
    precondition(bias == nil || bias!.count == w.rows, "a bias of \(bias?.count ?? 0) for \(w.rows) outputs")
    let table = InstructionSet.table.pointee
    parallelPanels(x.rows, Self.rowPanel) { range, worker in
      let (own, target) = (x[rows: range], out[rows: range])
      withUnsafePointer(to: q.levels) { levels in
        table.level_planes(
          own.base, own.rows, own.columns, own.stride, q.shift?.base, levels, planes[worker])
        table.level_product(
          planes[worker], own.rows, levels, w.base, w.rows, w.words, scale, bias?.base, target.base,
          target.stride)
      }
    }
  }
}

extension MatrixView {
  /// out = factor·self + rowBias, on the calling thread alone.
  ///
  /// - Parameters:
  ///   - rowBias: one element for each row, or nil.
  ///   - out: of the same shape; may be self.
  public func scaleSerial(by factor: Float, rowBias: FloatView? = nil, into out: MatrixView) {
    precondition(
      stride == columns && out.rows == rows && out.columns == columns
        && (rowBias.map { $0.count == rows } ?? true),
      "\(rows)×\(columns) scaled into \(out.rows)×\(out.columns)")
    InstructionSet.table.pointee.scale_rows(
      base, rows, columns, factor, rowBias?.base, out.base, out.stride)
  }

  /// out[row] = factor·Σ of the row's elements times `values` (one a column), in 16 lanes, on the calling thread alone.
  public func rowDotsSerial(with values: FloatView, factor: Float, into out: FloatView) {
    precondition(
      values.count == columns && out.count == rows, "\(rows)×\(columns) over \(values.count) values")
    InstructionSet.table.pointee.linear(base, rows, columns, stride, values.base, 1, nil, out.base, 1)
    InstructionSet.table.pointee.scale(factor, rows, out.base)
  }
}
