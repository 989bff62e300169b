import FileFormats

/// The sizes of a model, as its file tells them.
public struct ModelShape: Equatable, Sendable {
  public let vocabularySize: Int
  public let hiddenSize: Int
  public let layers: Int
  public let heads: Int
  public let intermediateSize: Int
  /// The most tokens of a sequence.
  public let maximumLength: Int
  /// Rank of the residual estimators; 0 for none.
  public let estimatorRank: Int

  public var headSize: Int { hiddenSize / heads }

  /// No size is larger, so that products of two fit.
  private static let limit = 1 << 24

  init(_ metadata: [String: String]) throws(BinaryModelError) {
    func size(_ size: PackedModelFormat.Size, from smallest: Int = 1) throws(BinaryModelError) -> Int {
      let text = metadata[size.rawValue]
      guard let text, let value = Int(text), value >= smallest, value <= Self.limit, String(value) == text
      else {
        throw .metadata(
          key: size.rawValue, value: text, wanted: "a whole number from \(smallest) to \(Self.limit)")
      }
      return value
    }
    vocabularySize = try size(.vocabulary)
    hiddenSize = try size(.hidden)
    layers = try size(.layers)
    heads = try size(.heads)
    intermediateSize = try size(.intermediate)
    maximumLength = try size(.maximumLength)
    estimatorRank = try size(.estimatorRank, from: 0)
    guard hiddenSize % heads == 0 else {
      throw .metadata(key: "heads", value: "\(heads)", wanted: "a divisor of hidden_size, \(hiddenSize)")
    }
  }
}

extension ModelShape {
  /// The length of a sequence in training, by its text in the metadata; where that is missing (files of earlier releases)
  /// the most tokens.
  func trainedLength(_ text: String?) throws(BinaryModelError) -> Int {
    guard let text else { return maximumLength }
    guard let length = Int(text), length >= 1, length <= maximumLength, String(length) == text else {
      throw .metadata(
        key: PackedModelFormat.sequenceLengthKey, value: text,
        wanted: "a whole number from 1 to \(maximumLength)")
    }
    return length
  }
}

/// What a model has on top of its encoder.
public typealias ModelHead = PackedModelFormat.Head
