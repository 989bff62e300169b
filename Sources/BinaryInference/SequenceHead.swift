import CBitKernels

/// W x + b, x one vector of a sequence. Legend: O outputs, H hidden.
struct SequenceHead: @unchecked Sendable {
  let outputs: Int
  let weight: UnsafePointer<Float>  // O×H
  let bias: UnsafePointer<Float>  // O

  init(_ name: String, outputs: Int, hidden: Int, _ tensors: PackedTensors) throws(BinaryModelError) {
    self.outputs = outputs
    weight = try tensors.reals(name + ".weight", [outputs, hidden])
    bias = try tensors.reals(name + ".bias", [outputs])
  }

  /// The outputs for the vector of H elements that `vector` writes: O.
  ///
  /// - Cost: 2·O·H float operations.
  func logits(_ network: Network, of vector: (UnsafeMutablePointer<Float>) -> Void) -> [Float] {
    let hidden = network.shape.hiddenSize
    return [Float](unsafeUninitializedCapacity: outputs) { logits, count in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: hidden) { x in
        vector(x.baseAddress!)
        network.kernels.pointee.linear(
          x.baseAddress!, 1, hidden, hidden, weight, outputs, bias, logits.baseAddress!, outputs)
      }
      count = outputs
    }
  }
}
