extension Array where Element: Comparable {
  /// In an ascending array, the first index whose element is not less than `value`; `count` if there is none.
  ///
  /// - Cost: log₂ count comparisons.
  func firstIndexOfNotLess(than value: Element) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < value { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// In an ascending array, the last index whose element is at most `value`; -1 if there is none.
  ///
  /// - Cost: log₂ count comparisons.
  func lastIndexOfNotGreater(than value: Element) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if value < self[middle] { high = middle } else { low = middle + 1 }
    }
    return low - 1
  }
}
