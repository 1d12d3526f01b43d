"""The demonstration: draw pictures, embed them, ask, and show the answers on a page."""

from bioprobe.demo.run import DemoResult, draw, run_demo

__all__ = ["DemoResult", "draw", "run_demo"]
