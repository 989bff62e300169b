import DurableFiles
import Foundation
import Testing

@Suite struct JSONTests {
  private func scalars(_ text: String) throws(JSONProblem) -> [String: JSONReader.Scalar] {
    try JSONReader.read(Array(text.utf8)) { reader throws(JSONProblem) in
      var found: [String: JSONReader.Scalar] = [:]
      try reader.object { reader, name throws(JSONProblem) in found[name] = try reader.scalar() }
      return found
    }
  }

  private func skip(_ bytes: [UInt8]) throws(JSONProblem) {
    try JSONReader.read(bytes) { reader throws(JSONProblem) in try reader.skip() }
  }

  @Test func scalarsKeepTheirText() throws {
    let found = try scalars(
      #" { "a" : -0.10e+2 , "b":"é\n\/\u00e9\ud83d\ude00" ,"c":true,"d":false, "e":null,"":0 } "#)
    #expect(
      found == [
        "a": .number("-0.10e+2"), "b": .text("é\n/é\u{1F600}"), "c": .bool(true), "d": .bool(false),
        "e": .null, "": .number("0"),
      ])
  }

  @Test(arguments: [
    ("", 0, "'{' missing at the end"), ("[", 0, "'{' expected"), ("{", 1, "'\"' missing at the end"),
    (#"{"a" 1}"#, 5, "':' expected"), (#"{"a":1,}"#, 7, "'\"' expected"), (#"{"a":}"#, 5, "a value expected"),
    (#"{"a":[1]}"#, 5, "a value expected"), (#"{"a":NaN}"#, 5, "a value expected"),
    (#"{"a":nul}"#, 5, "a value expected"), (#"{"a":01}"#, 5, "a number with a leading 0"),
    (#"{"a":-}"#, 5, "a number expected"), (#"{"a":1.}"#, 7, "digits expected after the point"),
    (#"{"a":1e}"#, 7, "digits expected in the exponent"),
    (#"{"a":1} x"#, 8, "text after the end of the value"),
    (#"{"a":"b"#, 7, "the text ends inside a string"), (#"{"a":"\q"}"#, 8, "an unknown escape in a string"),
    (#"{"a":"\ud800"}"#, 13, "half of a surrogate pair"),
    (#"{"a":"\u12g4"}"#, 11, "four hexadecimal digits expected"),
    ("{\"a\":\"\n\"}", 6, "a control character in a string"),
  ])
  func whatIsWrongIsSaidWithItsByte(_ text: String, _ byte: Int, _ problem: String) {
    #expect(throws: JSONProblem(byte: byte, text: problem)) { try scalars(text) }
  }

  @Test func textThatIsNotUTF8() {
    #expect(throws: JSONProblem(byte: 1, text: "a string that is not UTF-8")) {
      try skip([0x22, 0xFF, 0x22])
    }
  }

  @Test func skippedValuesAreChecked() throws {
    try skip(Array(#"{"a":[1,{"b":[]},"x",true,null],"c":{}}"#.utf8))
    #expect(throws: JSONProblem(byte: 3, text: "a value expected")) { try skip(Array("[1,]".utf8)) }
    let depth = JSONReader.depthLimit
    func nested(_ levels: Int) -> [UInt8] {
      Array((String(repeating: "[", count: levels) + String(repeating: "]", count: levels)).utf8)
    }
    try skip(nested(depth))
    #expect(throws: JSONProblem.self) { try skip(nested(depth + 2)) }
    #expect(throws: JSONProblem.self) { try skip([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)) }
  }

  /// The reader takes what Foundation's takes of mutated texts, and nothing else but for what it says more strictly.
  @Test func mutatedTextsAreRefusedOrRead() throws {
    let good = Array(#"{"a":[1,-2.5e3,{"b":"x\u00e9\n"}],"c":null,"d":true}"#.utf8)
    var state: UInt64 = 11
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var read = 0
    for _ in 0..<3000 {
      var bytes = good
      for _ in 0...random(2) {
        switch random(3) {
        case 0: bytes[random(bytes.count)] = UInt8(random(256))
        case 1: bytes.remove(at: random(bytes.count))
        default: bytes.insert(Array(#"01,:{}[]"\e.-"#.utf8)[random(13)], at: random(bytes.count))
        }
      }
      guard (try? skip(bytes)) != nil else { continue }
      read += 1
      #expect(
        (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil,
        "\(String(decoding: bytes, as: UTF8.self))")
    }
    #expect(read > 0 && read < 3000)
  }

  private struct Inner: Codable, Equatable {
    var someNumber: Int
    var text: String
  }

  private struct Outer: Codable, Equatable {
    var zebraCount: Double
    var aList: [Inner]
  }

  /// The bytes of `state.json`, `manifest.json`, `corpus.json`: they enter digests, so they never change.
  @Test func documents() throws {
    let value = Outer(zebraCount: 0.01, aList: [Inner(someNumber: 3, text: "a/\"é\n")])
    let text = """
      {
        "a_list" : [
          {
            "some_number" : 3,
            "text" : "a/\\"é\\n"
          }
        ],
        "zebra_count" : 0.01
      }

      """
    #expect(String(decoding: encodeJSON(value), as: UTF8.self) == text)
    #expect(try decodeJSON(Outer.self, encodeJSON(value)) == value)
    #expect(
      String(decoding: encodeJSONLine(value), as: UTF8.self)
        == "{\"aList\":[{\"someNumber\":3,\"text\":\"a/\\\"é\\n\"}],\"zebraCount\":0.01}\n")
    #expect(try decodeJSONLine(Outer.self, encodeJSONLine(value)) == value)
  }

  @Test(arguments: [
    (#"{"zebra_count": 1}"#, "no aList"),
    (#"{"zebra_count": "x", "a_list": []}"#, "zebraCount has the wrong type"),
    (#"{"zebra_count": null, "a_list": []}"#, "zebraCount is null"), (#"{"zebra_count": 1"#, "not JSON"),
  ])
  func whatADocumentLacksIsNamed(_ text: String, _ reason: String) {
    let fault = #expect(throws: JSONFault.self) { try decodeJSON(Outer.self, Array(text.utf8)) }
    #expect(fault?.reason == reason)
  }

  @Test func texts() {
    #expect(JSONText.number(Float.nan) == "\"NaN\"")
    #expect(JSONText.number(Float.infinity) == "\"Infinity\"")
    #expect(JSONText.number(-Double.infinity) == "\"-Infinity\"")
    #expect(JSONText.number(Float(0.1)) == "0.1")
    #expect(JSONText.number(Float(16_777_216)) == "16777216.0")
    #expect(JSONText.number(Double(0.1)) == "0.1")
    #expect(JSONText.number(Float(-0.0)) == "-0.0")
    #expect(JSONText.quoted("é\u{1}\"\\\t\r\n/") == #""é\u0001\"\\\t\r\n/""#)
    #expect(JSONText.object([("a", "1"), ("b\"", "[]")]) == #"{"a": 1, "b\"": []}"#)
    #expect(JSONText.object([]) == "{}")
  }
}
