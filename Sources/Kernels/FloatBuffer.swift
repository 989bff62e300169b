/// Owns 64-byte aligned float32 memory, zero at first; freed with its owner.
///
/// - Cost: one allocation of `4 * count` bytes; pages of a large buffer take physical memory once they are written.
public struct FloatBuffer: ~Copyable {
  /// All elements. Valid only while this buffer lives.
  public let view: FloatView
  private let memory: ZeroMemory

  public init(count: Int) {
    precondition(count >= 0, "a float buffer of \(count) elements")
    let memory = ZeroMemory(byteCount: count * MemoryLayout<Float>.stride)
    self.memory = memory
    view = FloatView(base: memory.base.assumingMemoryBound(to: Float.self), count: count)
  }

  public var count: Int { view.count }

  deinit { memory.deallocate() }

  /// Gives the physical memory of the elements `range` back, as far as it fills whole pages of a large buffer. For
  /// elements that are not needed any more: those whose pages went are zero when read again.
  public func release(_ range: Range<Int>) {
    let stride = MemoryLayout<Float>.stride
    memory.release(bytes: range.lowerBound * stride..<range.upperBound * stride)
  }

  /// For elements `range` of which only some, here and there, will ever be written: keeps memory to what these take.
  public func useSmallPages(_ range: Range<Int>) {
    let stride = MemoryLayout<Float>.stride
    memory.useSmallPages(bytes: range.lowerBound * stride..<range.upperBound * stride)
  }
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
