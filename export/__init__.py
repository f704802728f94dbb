"""Training and export of the networks; needs Keras, JAX and TensorFlow, and is not in the wheel."""
