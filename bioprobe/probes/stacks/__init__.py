"""Probes of several encoders over the same images."""
