extension SafetensorsFile {
  /// The elements of the tensor `name` as float32: F32 as they are, F16 and BF16 exactly, F64 rounded to nearest.
  ///
  /// - Throws: `missingTensor` or, for whole numbers, `unreadableType`.
  /// - Cost: one array of the tensor's elements.
  public func floats(_ name: String) throws(TensorFileError) -> [Float] {
    let entry = try entry(name)
    switch entry.type {
    case .float32: return elements(of: entry, as: UInt32.self) { Float(bitPattern: $0) }
    case .float16: return elements(of: entry, as: UInt16.self) { Float(Float16(bitPattern: $0)) }
    case .bfloat16: return elements(of: entry, as: UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .float64: return elements(of: entry, as: UInt64.self) { Float(Double(bitPattern: $0)) }
    default:
      throw .unreadableType(path: path, tensor: name, type: entry.type, wanted: "floating-point numbers")
    }
  }

  /// The elements of the tensor `name` as 64-bit whole numbers, from I64, I32, I16, I8, U8 or BOOL.
  ///
  /// - Throws: `missingTensor` or, for other types, `unreadableType`.
  /// - Cost: one array of the tensor's elements.
  public func int64s(_ name: String) throws(TensorFileError) -> [Int64] {
    let entry = try entry(name)
    switch entry.type {
    case .int64: return elements(of: entry, as: Int64.self) { $0 }
    case .int32: return elements(of: entry, as: Int32.self) { Int64($0) }
    case .int16: return elements(of: entry, as: Int16.self) { Int64($0) }
    case .int8: return elements(of: entry, as: Int8.self) { Int64($0) }
    case .uint8, .bool: return elements(of: entry, as: UInt8.self) { Int64($0) }
    default: throw .unreadableType(path: path, tensor: name, type: entry.type, wanted: "whole numbers")
    }
  }

  private func elements<Stored: FixedWidthInteger & BitwiseCopyable, Value>(
    of entry: TensorEntry, as _: Stored.Type, _ convert: (Stored) -> Value
  ) -> [Value] {
    withBytes(of: entry) { bytes in
      [Value](unsafeUninitializedCapacity: entry.count) { values, count in
        for index in 0..<entry.count {
          let stored = bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<Stored>.size, as: Stored.self)
          values.initializeElement(at: index, to: convert(Stored(littleEndian: stored)))
        }
        count = entry.count
      }
    }
  }
}
