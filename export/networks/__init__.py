"""Network builders: Keras 3, no backend named, every shape taken from a config."""
