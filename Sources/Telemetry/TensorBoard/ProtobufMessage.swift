/// A message in the wire format of protocol buffers, as far as events need it: written field by field, never read.
struct ProtobufMessage {
  private(set) var bytes: [UInt8] = []

  private mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func append(field: Int, wireType: Int) { append(varint: UInt64(field << 3 | wireType)) }

  mutating func set(_ field: Int, _ value: Int) {
    append(field: field, wireType: 0)
    append(varint: UInt64(bitPattern: Int64(value)))
  }

  mutating func set(_ field: Int, _ value: Double) {
    append(field: field, wireType: 1)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  mutating func set(_ field: Int, _ value: Float) {
    append(field: field, wireType: 5)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  mutating func set(_ field: Int, _ value: String) { set(field, Array(value.utf8)) }
  mutating func set(_ field: Int, _ value: ProtobufMessage) { set(field, value.bytes) }

  /// Packed numbers.
  mutating func set(_ field: Int, _ values: [Double]) {
    var packed: [UInt8] = []
    for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { packed += $0 } }
    set(field, packed)
  }

  mutating func set(_ field: Int, _ value: [UInt8]) {
    append(field: field, wireType: 2)
    append(varint: UInt64(value.count))
    bytes += value
  }
}
