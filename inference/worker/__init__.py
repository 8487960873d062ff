"""The child process: one model on one device. The only package that imports openvino_genai."""
