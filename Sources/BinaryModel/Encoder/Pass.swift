import Kernels

/// What every layer sees of a pass over one batch.
struct Pass {
  let tokens: TokenBatch
  let mode: ForwardMode
  /// All parameters, flat.
  let parameters: FloatView
  /// The binary matrices, by their numbers, and mean(w) over the word embedding where it is binary.
  let matrices: [PackedMatrix]
  let tableMean: Float
  let scratch: LayerScratch
  let window: GradientWindow
}

/// What every layer sees of a backward pass.
struct BackwardPass {
  let forward: Pass
  /// Of all parameters, flat; added to.
  let gradients: FloatView
  /// Take some of them instead.
  let sinks: GradientSinks

  var parameters: FloatView { forward.parameters }
  var dropout: Dropout? { forward.mode.dropout }
  var scratch: LayerScratch { forward.scratch }
}

/// Where a training pass has come to, told while it runs.
public enum LaneMoment: Sendable {
  /// The forward pass begins: up to the last hidden state.
  case forward
  /// The losses and the backward pass begin.
  case backward
  /// The gradients of the elements from this one on are complete, of this micro-batch. Told with ever smaller numbers, 0 at
  /// the end: the flat vector becomes complete from its end to its beginning, since the layers come one after the other
  /// in it, and the word embedding, which the decoder shares, first.
  case complete(from: Int)
}

/// What a forward pass is for.
enum ForwardMode {
  /// Dropout, if any, and everything backward needs.
  case training(Dropout?)
  /// No dropout.
  case evaluation
  /// No dropout; what can be fitted is set from what reaches it, in network order.
  case fit(Fit)
  /// No dropout; something is measured on the way.
  case probe(any LayerProbe)

  var dropout: Dropout? {
    if case .training(let dropout) = self { dropout } else { nil }
  }
  var sumOrder: SumOrder {
    switch self {
    case .evaluation, .probe: .fixed
    case .training, .fit: .training
    }
  }
  var fit: Fit? {
    if case .fit(let fit) = self { fit } else { nil }
  }
  var probe: (any LayerProbe)? {
    if case .probe(let probe) = self { probe } else { nil }
  }
}

/// Something that measures the layers of a forward pass.
protocol LayerProbe: AnyObject {
  /// An attention has computed its context from x: N×H.
  func measure(_ attention: Attention, _ x: MatrixView, _ pass: Pass)
  /// A layer is done.
  func leave(_ layer: TransformerLayer, _ pass: Pass)
}

/// How gradients enter the backward products of the binary layers, whose other operand is ±1. Everything else is
/// float32.
public enum BackwardPrecision: String, CaseIterable, Sendable {
  /// As they are.
  case float32
  /// Rounded to bfloat16; sums are float32.
  case bfloat16
  /// Rounded to 8 bits, up or down at random so that the mean is kept; sums are exact.
  case int8
}
