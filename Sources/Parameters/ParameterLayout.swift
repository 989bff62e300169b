/// The places of all parameters in one flat float32 buffer. Parameters, gradients, moments and checkpoints share
/// it. Names are those of the authors' release and Hugging Face BERT.
public struct ParameterLayout: Sendable {
  /// Elements between tensors' starts are a multiple of this (64 bytes), so that kernels see aligned memory.
  public static let alignment = 16

  public let parameters: [Parameter]
  /// Elements of a flat buffer, gaps included (gaps hold zeros).
  public let elementCount: Int
  private let indices: [String: Int]

  /// The parameters that were added to `builder`.
  public init(_ builder: LayoutBuilder) {
    parameters = builder.parameters
    elementCount = builder.end
    indices = Dictionary(uniqueKeysWithValues: parameters.enumerated().map { ($1.name, $0) })
  }

  /// The number of parameters proper, without gaps.
  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

  /// The parameter called `name`, or nil.
  public func find(_ name: String) -> Parameter? { indices[name].map { parameters[$0] } }

  /// The parameter called `name`, which exists.
  public subscript(_ name: String) -> Parameter {
    guard let index = indices[name] else { preconditionFailure("no parameter \(name) in this layout") }
    return parameters[index]
  }
}

/// Lays a model's tensors out one after the other. Each layer adds its own and keeps the places that it gets, so that the
/// name, shape, kind, initial value and place of a tensor are told once.
public struct LayoutBuilder {
  fileprivate(set) var parameters: [Parameter] = []
  /// The first element of the next parameter.
  public private(set) var end = 0
  /// Binary matrices added so far: the number of the next one.
  public private(set) var matrixCount = 0

  public init() {}

  /// Adds a tensor behind those that are there.
  ///
  /// - Precondition: no other parameter is called `name`.
  @discardableResult
  public mutating func add(
    _ name: String, _ shape: [Int], _ kind: ParameterKind = .real, initial: InitialValue
  ) -> Parameter {
    let parameter = Parameter(name: name, shape: shape, kind: kind, initial: initial, offset: end)
    parameters.append(parameter)
    let a = ParameterLayout.alignment
    end = (parameter.range.upperBound + a - 1) / a * a
    if kind == .binaryMatrix { matrixCount += 1 }
    return parameter
  }
}
