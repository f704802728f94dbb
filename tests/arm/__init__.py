"""The proof that edgecomp makes the same of the same pictures on ARM as on x86 (docs/arm.md)."""
