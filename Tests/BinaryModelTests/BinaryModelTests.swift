// Tests of BinaryModel.
