import FileFormats

/// Keeps the bytes of a model's file, and the small tensors that were widened from them, for as long as a model needs
/// them. Nothing changes after the model is made.
final class ModelMemory: @unchecked Sendable {
  let bytes: UnsafeRawBufferPointer
  private let release: @Sendable (UnsafeRawBufferPointer) -> Void
  private var widened: [UnsafeMutablePointer<Float>] = []

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
    widened.append(block)
    return block
  }

  deinit {
    for block in widened { block.deallocate() }
    release(bytes)
  }
}
