import FileFormats

/// Keeps the bytes of a model's file, and the small tensors that were made of them, for as long as a model needs them. Nothing changes after the model is made.
final class ModelMemory: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
  private let release: @Sendable (UnsafeRawBufferPointer) -> Void
  private var made: [UnsafeMutableRawPointer] = []

  /// - Parameter bytes: aligned to 64 bytes, and constant until `release` is called with them.
  init(_ bytes: UnsafeRawBufferPointer, release: @escaping @Sendable (UnsafeRawBufferPointer) -> Void) {
    self.bytes = bytes
    self.release = release
  }

  convenience init(copying source: [UInt8]) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, source.count), alignment: 64)
    copy.copyBytes(from: source)
    self.init(UnsafeRawBufferPointer(rebasing: copy[..<source.count])) { $0.deallocate() }
  }

  /// Room for floats that lives as long as this; only while the model is made.
  func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
    let block = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
    made.append(block)
    return block
  }

  /// A copy of `values` that lives as long as this; only while the model is made.
  func keep(_ values: [Int16]) -> UnsafePointer<Int16> {
    let block = UnsafeMutablePointer<Int16>.allocate(capacity: max(1, values.count))
    made.append(block)
    for (index, value) in values.enumerated() { block[index] = value }
    return UnsafePointer(block)
  }

  deinit {
    for block in made { block.deallocate() }
    release(bytes)
  }
}
