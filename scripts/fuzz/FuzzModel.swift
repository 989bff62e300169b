import BinaryInference

/// libFuzzer's entry: any bytes as a model's file. What is wrong with it is a typed error; what is not answers.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzModel(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let file = Array(UnsafeBufferPointer(start: bytes, count: count))
  guard let model = try? BinaryModel(bytes: file) else { return 0 }
  // [CLS] word [MASK] [SEP] of the seeds, as far as this vocabulary and this model go.
  let last = Int32(model.vocabulary.count - 1)
  let tokens = [2, 5, 4, 3].map { min($0, last) }.prefix(model.shape.maximumLength)
  _ = try? model.encode(Array(tokens), segments: tokens.indices.map { Int32($0 / 2) })
  _ = try? model.embed(Array(tokens))
  _ = try? model.fillMask(Array(tokens), top: 3)
  _ = try? model.pretrainingLogits(Array(tokens), at: [0])
  _ = try? model.classify(Array(tokens))
  if let encoder = try? TextEncoder(model.vocabulary) {
    _ = try? model.embed(encoder.encode("The king saw a river.", limit: model.shape.maximumLength).tokens)
  }
  return 0
}
