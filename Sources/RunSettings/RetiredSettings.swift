/// Keys and values that earlier releases had.
enum RetiredSettings {
  /// What to write instead of `value` of the key called `name`; nil for all that there still is.
  static func advice(_ name: String, _ value: String?) -> String? {
    switch (name, value) {
    case ("gradient_format", "float32"):
      "gradients are added up as integers now: write int32, which is as exact, or leave the key out"
    case ("gradient_format", "bfloat16"):
      "gradients are added up as integers now: write int16, as many bytes and closer, or int32"
    case ("overlap_exchange", _): "is gone, and nothing takes its place: leave it out"
    default: nil
    }
  }
}
