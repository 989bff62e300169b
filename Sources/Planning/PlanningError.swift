/// What can be wrong with a plan.
public enum PlanningError: Error, Equatable, CustomStringConvertible, Sendable {
  /// More ranks than a step has micro-batches, or none.
  case worldSize(ranks: Int, globalBatch: Int, microBatch: Int)

  public var description: String {
    switch self {
    case .worldSize(let ranks, let globalBatch, let microBatch):
      let lanes = globalBatch / microBatch
      return
        "\(ranks) \(ranks == 1 ? "rank does" : "ranks do") not fit \(lanes) \(lanes == 1 ? "lane" : "lanes") "
        + "(training.global_batch \(globalBatch) / training.micro_batch \(microBatch)): "
        + (lanes == 1 ? "use 1 rank" : "use 1 to \(lanes) ranks")
    }
  }
}
