/// Owns 64-byte aligned float32 memory, zero at first; freed with its owner.
///
/// - Cost: one allocation of `4 * count` bytes.
public struct FloatBuffer: ~Copyable {
  /// All elements. Valid only while this buffer lives.
  public let view: FloatView

  public init(count: Int) {
    precondition(count >= 0, "a float buffer of \(count) elements")
    let bytes = Swift.max(64, count * MemoryLayout<Float>.stride)
    let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    raw.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    view = FloatView(base: raw.assumingMemoryBound(to: Float.self), count: count)
  }

  public var count: Int { view.count }

  deinit { UnsafeMutableRawPointer(view.base).deallocate() }
}

/// A run of float32 elements that a `FloatBuffer` (or another owner) keeps alive; copying it copies no data.
///
/// Kernels take views instead of spans because a span of one stored property still borrows its whole owner
/// (Swift 6.3), so a layer could not read one activation and write its neighbour.
public struct FloatView {
  public let base: UnsafeMutablePointer<Float>
  public let count: Int

  public init(base: UnsafeMutablePointer<Float>, count: Int) {
    self.base = base
    self.count = count
  }

  public subscript(_ index: Int) -> Float {
    get {
      precondition(index >= 0 && index < count, "element \(index) of \(count)")
      return base[index]
    }
    nonmutating set {
      precondition(index >= 0 && index < count, "element \(index) of \(count)")
      base[index] = newValue
    }
  }

  /// The elements of `range`, sharing this view's memory.
  public subscript(_ range: Range<Int>) -> FloatView {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "elements \(range) of \(count)")
    return FloatView(base: base + range.lowerBound, count: range.count)
  }

  /// Sets every element to `value`.
  public func fill(_ value: Float) { base.update(repeating: value, count: count) }

  /// Copies all of `source`, which has the same count.
  public func copy(from source: FloatView) {
    precondition(source.count == count, "copy of \(source.count) elements into \(count)")
    base.update(from: source.base, count: count)
  }

  /// The bytes of these elements.
  public var bytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: base, count: count))
  }

  /// A copy as an array, for tests and small tensors.
  public var array: [Float] { Array(UnsafeBufferPointer(start: base, count: count)) }
}
