import DurableFiles
import Foundation
import TensorFiles
import Testing

struct SafetensorsTests {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func writtenAndReadBack() throws {
    let path = folder.file("a.safetensors")
    let floats: [Float] = [1.5, -0, .infinity, 0x1p-149]
    try writeSafetensors(
      path: path,
      tensors: [
        Tensor(name: "z/\"weird\\ ö\u{1}", shape: [2, 2], floats: floats),
        Tensor(name: "scalar", shape: [], floats: [3]),
        Tensor(name: "ids", shape: [3], int64s: [.min, 0, .max]),
        Tensor(name: "empty", shape: [0, 5], floats: []),
        Tensor(name: "bool", type: .bool, shape: [1], bytes: [1]),
      ], metadata: ["format": "pt", "a\n": "\u{1F600}"])
    let file = try SafetensorsFile(path: path)
    #expect(file.metadata == ["format": "pt", "a\n": "\u{1F600}"])
    #expect(file.entries.count == 5)
    #expect(file.entries.first?.name == "z/\"weird\\ ö\u{1}")
    #expect(file.entries[0].range.lowerBound % 64 == 0)
    #expect(try file.floats("z/\"weird\\ ö\u{1}").map(\.bitPattern) == floats.map(\.bitPattern))
    #expect(try file.floats("scalar") == [3])
    #expect(file.find("scalar")?.shape == [])
    #expect(try file.int64s("ids") == [.min, 0, .max])
    #expect(try file.floats("empty") == [])
    #expect(try file.int64s("bool") == [1])
    #expect(file.find("none") == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a.safetensors"])
  }

  @Test func narrowTypesConvertExactly() throws {
    let path = folder.file("b.safetensors")
    let halves: [Float16] = [1, -2.5, 65504, 6e-8, .infinity]
    let doubles: [Double] = [0.1, -1e300, 3]
    let shorts: [Int16] = [-7, 300]
    let ints: [Int32] = [.min, 5]
    try writeSafetensors(
      path: path,
      tensors: [
        Tensor(name: "h", type: .float16, shape: [5], bytes: halves.withUnsafeBytes { Array($0) }),
        Tensor(name: "b", type: .bfloat16, shape: [2], bytes: [0x80, 0x3F, 0x49, 0xC0]),
        Tensor(name: "d", type: .float64, shape: [3], bytes: doubles.withUnsafeBytes { Array($0) }),
        Tensor(name: "s", type: .int16, shape: [2], bytes: shorts.withUnsafeBytes { Array($0) }),
        Tensor(name: "c", type: .int8, shape: [2], bytes: [0xFF, 1]),
        Tensor(name: "u", type: .uint8, shape: [2], bytes: [0xFF, 1]),
        Tensor(name: "i", type: .int32, shape: [2], bytes: ints.withUnsafeBytes { Array($0) }),
      ])
    let file = try SafetensorsFile(path: path)
    #expect(try file.floats("h") == halves.map(Float.init))
    #expect(try file.floats("b") == [1, -3.140625])
    #expect(try file.floats("d") == [0.1, -.infinity, 3])
    #expect(try file.int64s("s") == [-7, 300])
    #expect(try file.int64s("c") == [-1, 1])
    #expect(try file.int64s("u") == [255, 1])
    #expect(try file.int64s("i") == [Int64(Int32.min), 5])
    #expect(throws: TensorFileError.missingTensor(path: path, tensor: "x")) { try file.floats("x") }
    #expect(
      throws: TensorFileError.unreadableType(
        path: path, tensor: "s", type: .int16, wanted: "floating-point numbers")
    ) { try file.floats("s") }
    #expect(
      throws: TensorFileError.unreadableType(path: path, tensor: "h", type: .float16, wanted: "whole numbers")
    ) { try file.int64s("h") }
  }

  @Test func layoutIsDeterministicAndExact() throws {
    let tensors: [(String, TensorType, [Int])] = [
      ("w", .float32, [3, 2]), ("b", .uint8, [5]), ("s", .float32, []),
    ]
    let layout = SafetensorsLayout(tensors: tensors, metadata: ["b": "2", "a": "1", "c": "3"])
    #expect(layout.headerBytes.count % 64 == 0)
    #expect(layout.entries.map(\.range.count) == [24, 5, 4])
    #expect(layout.entries[0].range.lowerBound == layout.headerBytes.count)
    #expect(layout.fileSize == layout.headerBytes.count + 33)
    let text = String(decoding: layout.headerBytes[8...], as: UTF8.self)
    #expect(
      text.hasPrefix(
        #"{"__metadata__":{"a":"1","b":"2","c":"3"},"w":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}"#)
    )
    let path = try folder.write(
      "l.safetensors",
      layout.headerBytes + Array(repeating: 0, count: layout.fileSize - layout.headerBytes.count))
    #expect(try SafetensorsFile(path: path).entries == layout.entries)
  }

  @Test func headerOrderNeedNotBeDataOrder() throws {
    let header =
      #"{ "b" : {"shape":[2],"data_offsets":[2,4],"dtype":"U8"} ,"a":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]} }   "#
    let file = try SafetensorsFile(path: folder.write("o.safetensors", safetensors(header, data: 4)))
    #expect(file.entries.map(\.name) == ["a", "b"])
    #expect(try file.int64s("b") == [2, 3])
  }

  @Test func escapesInNames() throws {
    let header = #"{"\u0061\/\ud83d\ude00":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#
    let file = try SafetensorsFile(path: folder.write("e.safetensors", safetensors(header, data: 1)))
    #expect(file.entries.map(\.name) == ["a/\u{1F600}"])
  }

  @Test func replacingFailsCleanly() throws {
    let path = folder.file("missing/x.safetensors")
    #expect(throws: TensorFileError.self) { try writeSafetensors(path: path, tensors: []) }
    // A folder in the way: the rename fails and the temporary is gone.
    let blocked = folder.file("folder")
    try FileManager.default.createDirectory(atPath: blocked, withIntermediateDirectories: true)
    #expect(throws: TensorFileError.file(.system(operation: "rename to", path: blocked, code: EISDIR))) {
      try writeSafetensors(path: blocked, tensors: [])
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["folder"])
  }

  /// The golden vectors were written by the Python package.
  @Test(arguments: ["tiny-a", "tiny-b", "rank4-odd", "distil", "wide"]) func goldenFilesOpen(name: String)
    throws
  {
    let golden = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("GoldenTests/Golden/\(name).safetensors")
    let file = try SafetensorsFile(path: golden.path)
    let table = try #require(file.find("param/bert.embeddings.word_embeddings.weight"))
    #expect(table.type == .float32 && table.shape.count == 2)
    let values = try file.floats(table.name)
    #expect(values.count == table.shape.reduce(1, *))
    #expect(values.allSatisfy(\.isFinite) && values.contains { $0 != 0 })
    #expect(try file.floats("loss/total").count == 1)
    let ids = try #require(file.entries.first { $0.name.hasPrefix("batch/") && $0.type == .int64 })
    #expect(try file.int64s(ids.name).count == ids.count)
  }
}
