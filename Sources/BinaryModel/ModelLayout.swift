import Parameters

/// All parameters of a model with its objective: the encoder's, then the objective's own; and where each part finds them.
public struct ModelLayout<Goal: Objective>: Sendable {
  public let configuration: ModelConfiguration
  public let objective: Goal
  /// One flat vector.
  public let parameters: ParameterLayout
  /// The elements of the flat vector that are the objective's own: those behind the encoder's.
  public let headRange: Range<Int>
  /// The elements of the word embedding.
  public var words: Range<Int> { encoder.embeddings.words }
  let encoder: EncoderPlaces
  let head: Goal.Places

  public init(_ configuration: ModelConfiguration, _ objective: Goal) {
    var builder = LayoutBuilder()
    self.configuration = configuration
    self.objective = objective
    encoder = EncoderPlaces(configuration, in: &builder)
    let start = builder.end
    head = objective.addParameters(configuration, words: encoder.embeddings.words, to: &builder)
    parameters = ParameterLayout(builder)
    headRange = start..<parameters.elementCount
  }
}
