import CBitKernels
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
  /// Bits of an activation: 1, 2, 4 or 8.
  public let activationBits: Int
  public let feedForwardActivation: PackedModelFormat.Activation

  public var headSize: Int { hiddenSize / heads }
  /// Whether some activations are more than signs.
  var hasLevels: Bool { activationBits > 1 || feedForwardActivation == .relu }

  /// No size is larger, so that products of two fit.
  private static let limit = 1 << 24

  /// - Parameter version: of the format.
  init(_ metadata: [String: String], version: Int) throws(BinaryModelError) {
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
    guard version == PackedModelFormat.levelsVersion else {
      (activationBits, feedForwardActivation) = (1, .gelu)
      return
    }
    let bits = metadata[PackedModelFormat.activationBitsKey]
    guard let known = [1, 2, 4, 8].first(where: { bits == "\($0)" }) else {
      throw .metadata(key: PackedModelFormat.activationBitsKey, value: bits, wanted: "1, 2, 4 or 8")
    }
    activationBits = known
    let activation = metadata[PackedModelFormat.activationKey]
    guard let own = activation.flatMap(PackedModelFormat.Activation.init) else {
      throw .metadata(key: PackedModelFormat.activationKey, value: activation, wanted: "gelu or relu")
    }
    feedForwardActivation = own
    try checkSums()
  }

  /// Sums of integers are to be exact.
  private func checkSums() throws(BinaryModelError) {
    let (most, half) = (1 << activationBits - 1, 1 << (activationBits - 1))
    for (size, value, factor) in [
      (PackedModelFormat.Size.hidden, hiddenSize, most), (.intermediate, intermediateSize, most),
      (.hidden, headSize, half * half), (.maximumLength, maximumLength, most * half),
    ] where value > Int(BK_LARGEST_SUM) / factor {
      throw .metadata(
        key: size.rawValue, value: metadataText(size),
        wanted: "so few that sums of \(activationBits)-bit activations are exact")
    }
  }

  private func metadataText(_ size: PackedModelFormat.Size) -> String {
    switch size {
    case .intermediate: "\(intermediateSize)"
    case .maximumLength: "\(maximumLength)"
    default: "\(hiddenSize)"
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
