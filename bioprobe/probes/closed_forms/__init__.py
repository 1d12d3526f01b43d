"""Probes whose whole regularisation path is one eigendecomposition."""
