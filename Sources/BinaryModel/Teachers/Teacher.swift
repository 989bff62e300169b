import Kernels

/// What a teacher makes of a micro-batch, valid until its next forward pass. Legend: B, T, H, L of the student.
public struct TeacherOutput {
  /// L + 1 of (B·T)×H
  public let hidden: [FloatView]
  /// The logits of the linear layer that `Objective.teacherHead` names, B×its outputs; nil where the teacher has none.
  public let logits: FloatView?

  public init(hidden: [FloatView], logits: FloatView?) {
    self.hidden = hidden
    self.logits = logits
  }
}

/// Anything that can be distilled from: it gives hidden states and logits of a batch.
public protocol Teacher: AnyObject {
  func forward(_ batch: TokenBatch) -> TeacherOutput
}
