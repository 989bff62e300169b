import BinaryModel
import DurableFiles
import RunSettings

/// The teacher of a task: a model that was fine-tuned to it at full precision, its classifier included.
extension RunConfiguration {
  /// The path of the teacher's weights; nil without one. Of a run that `task.teacher` names it is the best checkpoint, where
  /// the run keeps that, else the newest.
  ///
  /// - Throws: `TrainingError` where a run has none.
  /// - Cost: reads and hashes that checkpoint, and those that are newer.
  func teacherPath() throws(TrainingError) -> String? {
    guard let name = task.teacher else { return teacher }
    // Weights by themselves: a file, or a folder with them, as a checkpoint is.
    if fileExists(name + "/model.safetensors") || name.hasSuffix(".safetensors") { return name }
    return try ModelChoice.best.checkpoint(name, report: { _ in })
  }

  /// What a task's student is to match of its teacher. A teacher that is no task's (key `teacher`) has no logits of it.
  var distillation: DistillationTarget { task.teacher == nil ? .hidden : task.distillation }
}

extension TaskSource {
  /// Refuses a teacher that tells other classes than those of the data, or has them in another order, and one whose logits
  /// are wanted and are not, or not to be compared with, those of the pooled output.
  ///
  /// - Parameter name: `task.teacher`; where no `task.json` lies beside it, the number of classes alone is compared, once its
  ///   weights are read.
  func checkTeacher(_ name: String, _ student: RunConfiguration.Task) throws(TrainingError) {
    let folders = [name, name + "/../.."]
    guard let run = folders.first(where: { fileExists($0 + "/" + TaskRecord.fileName) }) else { return }
    let classes = try TaskRecord(run: run).classes
    func words(_ classes: [String]) -> String {
      classes.isEmpty ? "numbers" : classes.map { JSONText.quoted($0) }.joined(separator: ", ")
    }
    if classes != data.classes {
      throw .incompleteTask(
        "task.teacher: \(name) tells \(words(classes)), the data have \(words(data.classes)); fine-tune a teacher on them"
      )
    }
    let teacher = try inModule { () throws(ConfigurationError) in
      try RunConfiguration.load(file: run + "/config.yaml", isStored: true)
    }
    if student.distillation.hasLogits, student.pooling != .first || teacher.task.pooling != .first {
      throw .incompleteTask(
        "task.teacher: logits are compared where both models read the pooled output (task.pooling first); use "
          + "--distillation hidden for the hidden states alone")
    }
  }
}
