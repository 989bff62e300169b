/// One event of TensorBoard (tensorflow/core/util/event.proto, summary.proto and TensorBoard's plugin_data.proto, whose field
/// numbers these are), framed as a TFRecord: length, masked CRC-32C of it, message, masked CRC-32C of that.
struct Event {
  /// Seconds since 1970.
  let time: Double
  let step: Int
  let message: ProtobufMessage

  private init(time: Double, step: Int, _ fill: (inout ProtobufMessage) -> Void) {
    (self.time, self.step) = (time, step)
    var message = ProtobufMessage()
    message.set(1, time)
    message.set(2, step)
    fill(&message)
    self.message = message
  }

  /// The first event of a file.
  static func fileVersion(time: Double) -> Event {
    Event(time: time, step: 0) { $0.set(3, "brain.Event:2") }
  }

  /// A job begins: readers that hold the file open forget what they have from `step` on.
  static func sessionStart(time: Double, step: Int) -> Event {
    Event(time: time, step: step) {
      var log = ProtobufMessage()
      log.set(1, 1)
      $0.set(7, log)
    }
  }

  static func scalars(time: Double, step: Int, _ values: [(tag: String, value: Float)]) -> Event {
    Event(time: time, step: step) {
      var summary = ProtobufMessage()
      for (tag, number) in values {
        var value = ProtobufMessage()
        value.set(1, tag)
        value.set(2, number)
        summary.set(1, value)
      }
      $0.set(5, summary)
    }
  }

  /// - Parameters:
  ///   - width: of a bucket; the first begins at 0.
  static func histogram(time: Double, step: Int, tag: String, counts: [Int], width: Double) -> Event {
    Event(time: time, step: step) {
      let middles = counts.indices.map { (Double($0) + 0.5) * width }
      let numbers = counts.map(Double.init)
      var histogram = ProtobufMessage()
      histogram.set(1, 0.0)
      histogram.set(2, Double(counts.count) * width)
      histogram.set(3, numbers.reduce(0, +))
      histogram.set(4, zip(middles, numbers).reduce(0) { $0 + $1.0 * $1.1 })
      histogram.set(5, zip(middles, numbers).reduce(0) { $0 + $1.0 * $1.0 * $1.1 })
      histogram.set(6, counts.indices.map { Double($0 + 1) * width })
      histogram.set(7, numbers)
      var value = ProtobufMessage()
      value.set(1, tag)
      value.set(5, histogram)
      var summary = ProtobufMessage()
      summary.set(1, value)
      $0.set(5, summary)
    }
  }

  /// The settings of the run, for the plugin of hyperparameters.
  static func hyperparameters(time: Double, _ settings: [(key: String, value: String)]) -> Event {
    Event(time: time, step: 0) {
      var info = ProtobufMessage()
      for (key, text) in settings {
        // google.protobuf.Value: number_value or string_value.
        var value = ProtobufMessage()
        if let number = Double(text) { value.set(2, number) } else { value.set(3, text) }
        var entry = ProtobufMessage()
        entry.set(1, key)
        entry.set(2, value)
        info.set(1, entry)
      }
      info.set(5, time)
      var content = ProtobufMessage()
      content.set(3, info)
      var plugin = ProtobufMessage()
      plugin.set(1, "hparams")
      plugin.set(2, content)
      var metadata = ProtobufMessage()
      metadata.set(1, plugin)
      var value = ProtobufMessage()
      value.set(1, "_hparams_/session_start_info")
      value.set(9, metadata)
      var summary = ProtobufMessage()
      summary.set(1, value)
      $0.set(5, summary)
    }
  }

  /// The bytes of the record.
  var frame: [UInt8] {
    func masked(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
      let sum = CRC32C.checksum(bytes)
      let rotated = (sum >> 15 | sum << 17) &+ 0xa282_ead8
      return withUnsafeBytes(of: rotated.littleEndian) { Array($0) }
    }
    let length = withUnsafeBytes(of: UInt64(message.bytes.count).littleEndian) { Array($0) }
    return length + masked(length[...]) + message.bytes + masked(message.bytes[...])
  }

  /// The step of a message that `init` made: its fields 1 and 2 stand first.
  static func step(of message: ArraySlice<UInt8>) -> Int? {
    var rest = message.dropFirst(9)
    guard message.first == 0x09, rest.popFirst() == 0x10 else { return nil }
    var (value, shift): (UInt64, UInt64) = (0, 0)
    while let byte = rest.popFirst(), shift < 64 {
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return Int(Int64(bitPattern: value)) }
      shift += 7
    }
    return nil
  }
}

/// The cyclic redundancy check of iSCSI (RFC 3720, 12.1), of which the frames of events hold two.
enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1 }
  }

  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(~0) { sum, byte in table[Int((sum ^ UInt32(byte)) & 0xFF)] ^ sum >> 8 }
  }
}
