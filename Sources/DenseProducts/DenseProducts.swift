import COpenBLAS
import Kernels

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// Whether an operand of a dense product is used as it is or transposed.
public enum Operand {
  case plain(MatrixView)
  case transposed(MatrixView)

  var matrix: MatrixView {
    switch self {
    case .plain(let m), .transposed(let m): m
    }
  }
  var rows: Int {
    switch self {
    case .plain(let m): m.rows
    case .transposed(let m): m.columns
    }
  }
  var columns: Int {
    switch self {
    case .plain(let m): m.columns
    case .transposed(let m): m.rows
    }
  }
  func rows(_ range: Range<Int>) -> Operand {
    switch self {
    case .plain(let m): .plain(m[rows: range])
    case .transposed(let m): .transposed(m[columns: range])
    }
  }
  func columns(_ range: Range<Int>) -> Operand {
    switch self {
    case .plain(let m): .plain(m[columns: range])
    case .transposed(let m): .transposed(m[rows: range])
    }
  }
  var flag: CBLAS_TRANSPOSE {
    switch self {
    case .plain: CblasNoTrans
    case .transposed: CblasTrans
    }
  }
}

/// Rows or columns of a side of the result that one BLAS call computes: given by the shape, so that the bits do not depend on
/// the threads. Few enough to share a layer's width out, many enough where the side is a vocabulary.
private func densePanel(_ side: Int) -> Int { side < 4096 ? 192 : 512 }

/// out = factor·(A B), or added to out, in float32 with OpenBLAS on the calling thread alone.
///
/// - Cost: 2·M·N·K operations for A M×K and B K×N.
public func denseProductSerial(
  _ a: Operand, _ b: Operand, factor: Float = 1, accumulate: Bool = false, into out: MatrixView
) {
  precondition(
    a.columns == b.rows && out.rows == a.rows && out.columns == b.columns,
    "\(a.rows)×\(a.columns) by \(b.rows)×\(b.columns) into \(out.rows)×\(out.columns)")
  guard out.rows > 0 && out.columns > 0 else { return }
  cblas_sgemm(
    CblasRowMajor, a.flag, b.flag, Int32(out.rows), Int32(out.columns), Int32(a.columns), factor,
    a.matrix.base,
    Int32(max(1, a.matrix.stride)), b.matrix.base, Int32(max(1, b.matrix.stride)), accumulate ? 1 : 0,
    out.base,
    Int32(out.stride))
}

/// `denseProductSerial` in parallel over fixed panels of the longer side of the result.
public func denseProduct(
  _ a: Operand, _ b: Operand, factor: Float = 1, accumulate: Bool = false, into out: MatrixView
) {
  if out.rows >= out.columns {
    parallelPanels(out.rows, densePanel(out.rows)) { range, _ in
      denseProductSerial(a.rows(range), b, factor: factor, accumulate: accumulate, into: out[rows: range])
    }
  } else {
    parallelPanels(out.columns, densePanel(out.columns)) { range, _ in
      denseProductSerial(
        a, b.columns(range), factor: factor, accumulate: accumulate, into: out[columns: range])
    }
  }
}

/// Keeps OpenBLAS on the calling thread: this module's own loops are the only parallelism. Call once at start.
public func useSingleThreadedBLAS() { openblas_set_num_threads(1) }

/// OpenBLAS with its version and the kind of core that its kernels are for. Where it differs, sums may.
public var linearAlgebraName: String {
  let version = String(cString: openblas_get_config()).split(separator: " ").prefix(2).joined(separator: " ")
  return "\(version) \(String(cString: openblas_get_corename()))"
}

/// What to do where OpenBLAS, older than the processor, does not know it and takes the kernels of 2004; nil where it does.
/// Only some products of backward are its own, so that a step of BERT-base takes 1.25 times as long.
public func adviceOnOpenBLAS(core: String, instructionSet: String) -> String? {
  guard ["Prescott", "Core2", "Nehalem"].contains(core),
    let better = instructionSet.hasPrefix("avx512") ? "SkylakeX" : ["avx2": "Haswell"][instructionSet]
  else { return nil }
  return "OpenBLAS does not know this processor and takes its kernels for \(core), which are slower; "
    + "OPENBLAS_CORETYPE=\(better) in the environment of all ranks chooses others (from a run's start on: sums differ)"
}

/// `adviceOnOpenBLAS` to this process; nil where OPENBLAS_CORETYPE chooses.
public var linearAlgebraAdvice: String? {
  if getenv("OPENBLAS_CORETYPE") != nil { return nil }
  return adviceOnOpenBLAS(core: String(cString: openblas_get_corename()), instructionSet: InstructionSet.name)
}
