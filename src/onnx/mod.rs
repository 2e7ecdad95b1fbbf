//! ONNX models as a typed graph.
