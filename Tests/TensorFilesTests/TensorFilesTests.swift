// Tests of TensorFiles.
