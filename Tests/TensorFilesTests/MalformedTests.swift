import DurableFiles
import Foundation
import Mutations
import TensorFiles
import Testing

/// Every malformed file is one clear error that names the file, never a crash or a silent misreading.
struct MalformedTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  private func problem(_ bytes: [UInt8]) throws -> TensorFileError? {
    let path = try folder.write("bad.safetensors", bytes)
    do throws(TensorFileError) {
      _ = try SafetensorsFile(path: path)
      return nil
    } catch {
      #expect(error.description.contains(path))
      #expect(!error.description.contains("\n"))
      return error
    }
  }

  private func tensor(_ type: String, _ shape: String, _ offsets: String) -> String {
    #"{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)}"#
  }

  private var path: String { folder.file("bad.safetensors") }

  @Test func missingFileAndFolder() throws {
    #expect(throws: TensorFileError.file(.system(operation: "open", path: folder.file("none"), code: ENOENT)))
    {
      try SafetensorsFile(path: folder.file("none"))
    }
    #expect(throws: TensorFileError.file(.system(operation: "read", path: folder.path, code: EISDIR))) {
      try SafetensorsFile(path: folder.path)
    }
  }

  @Test(arguments: 0..<8) func tooShort(size: Int) throws {
    #expect(try problem(Array(repeating: 0, count: size)) == .tooShort(path: path, size: size))
  }

  @Test(arguments: [3, 100_000_001, UInt64.max, UInt64(Int.max)] as [UInt64]) func headerLength(
    length: UInt64
  ) throws {
    let bytes = withUnsafeBytes(of: length.littleEndian) { Array($0) } + Array("{}".utf8)
    #expect(try problem(bytes) == .headerLength(path: path, length: length, size: 10))
  }

  @Test(arguments: [
    "", " {}", "[]", "{", "{}}", "{} x", #"{"a"}"#, #"{"a":}"#, #"{"a":1}"#, #"{"a":{}}"#,
    #"{"a":{"dtype":"U8"}}"#,
    #"{"a":{"dtype":"U8","shape":[],"data_offsets":[0]}}"#,
    #"{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1,2]}}"#,
    #"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}"#,
    #"{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"extra":1}}"#,
    #"{"a":{"dtype":7,"shape":[],"data_offsets":[0,1]}}"#,
    #"{"__metadata__":{"a":1}}"#, #"{"__metadata__":{"a":"1","a":"2"}}"#, #"{"__metadata__":{"a":"\q"}}"#,
    #"{"__metadata__":{"a":"\ud800"}}"#, #"{"__metadata__":{"a":"\udc00\ud800"}}"#,
    #"{"__metadata__":{"a":"\u12"}}"#,
    "{\"__metadata__\":{\"a\":\"\n\"}}", #"{"__metadata__":{"a":"b"#, #"{"__metadata__":{"a":"b","#,
  ]) func headerSyntax(header: String) throws {
    let error = try problem(safetensors(header, data: 1))
    guard case .headerSyntax(path, let byte, _) = error else {
      Issue.record("\(header): \(String(describing: error))")
      return
    }
    #expect(byte >= 8 && byte <= 8 + header.utf8.count)
  }

  @Test func headerThatIsNotUTF8() throws {
    var bytes = safetensors(#"{"__metadata__":{"a":"?"}}"#, data: 0)
    bytes[8 + 22] = 0xFF
    #expect(
      try problem(bytes) == .headerSyntax(path: path, byte: 30, problem: "a string that is not UTF-8"))
  }

  @Test func duplicate() throws {
    let header = "{\"a\":\(tensor("U8", "[1]", "[0,1]")),\"a\":\(tensor("U8", "[1]", "[1,2]"))}"
    #expect(try problem(safetensors(header, data: 2)) == .duplicateTensor(path: path, tensor: "a"))
  }

  @Test func unknownType() throws {
    let header = "{\"a\":\(tensor("F8_E4M3", "[1]", "[0,1]"))}"
    #expect(
      try problem(safetensors(header, data: 1)) == .unknownType(path: path, tensor: "a", type: "F8_E4M3"))
  }

  @Test func sizes() throws {
    #expect(
      try problem(safetensors("{\"a\":\(tensor("F32", "[2,3]", "[0,20]"))}", data: 20))
        == .sizeMismatch(path: path, tensor: "a", shape: [2, 3], type: .float32, expected: 24, actual: 20))
    let huge = [1 << 40, 1 << 40]
    #expect(
      try problem(safetensors("{\"a\":\(tensor("F32", "[1099511627776,1099511627776]", "[0,0]"))}", data: 0))
        == .sizeMismatch(path: path, tensor: "a", shape: huge, type: .float32, expected: nil, actual: 0))
  }

  @Test func offsets() throws {
    #expect(
      try problem(safetensors("{\"a\":\(tensor("F32", "[2]", "[0,8]"))}", data: 7))
        == .offsetsOutside(path: path, tensor: "a", begin: 0, end: 8, dataSize: 7))
    #expect(
      try problem(safetensors("{\"a\":\(tensor("F32", "[2]", "[8,0]"))}", data: 8))
        == .offsetsOutside(path: path, tensor: "a", begin: 8, end: 0, dataSize: 8))
  }

  @Test func overlapsAndHoles() throws {
    let a = tensor("U8", "[4]", "[0,4]")
    #expect(
      try problem(safetensors("{\"a\":\(a),\"b\":\(tensor("U8", "[4]", "[3,7]"))}", data: 7))
        == .overlap(path: path, tensor: "b", begin: 3, previousEnd: 4))
    #expect(
      try problem(safetensors("{\"a\":\(a),\"b\":\(tensor("U8", "[4]", "[5,9]"))}", data: 9))
        == .hole(path: path, tensor: "b", begin: 4, end: 5))
    #expect(
      try problem(safetensors("{\"a\":\(a)}", data: 6)) == .hole(path: path, tensor: nil, begin: 4, end: 6))
    #expect(try problem(safetensors("{}", data: 1)) == .hole(path: path, tensor: nil, begin: 0, end: 1))
  }

  /// Mutants of a good file: opened or refused in one line that names the file, and what opens can be read without leaving
  /// the file.
  @Test func mutantsNeverCrash() throws {
    let good = safetensors(
      #"{"__metadata__":{"k":"v\n"},"a":\#(tensor("F32", "[2]", "[0,8]")),"b":\#(tensor("I64", "[1]", "[8,16]"))}"#,
      data: 16)
    var (opened, refused) = (0, 0)
    try Mutations.of(good, count: 3_000, name: "safetensors") { bytes, number in
      let path = try folder.write("mutated.safetensors", bytes)
      do throws(TensorFileError) {
        let file = try SafetensorsFile(path: path)
        opened += 1
        for entry in file.entries {
          #expect(entry.range.upperBound <= bytes.count, "mutant \(number)")
          _ = try? file.floats(entry.name)
          _ = try? file.int64s(entry.name)
        }
      } catch {
        refused += 1
        #expect(
          error.description.contains(path) && !error.description.contains("\n"), "mutant \(number): \(error)")
      }
    }
    #expect(opened > 0 && refused > opened)
  }
}
