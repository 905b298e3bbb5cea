"""Use a trained generator: sample, mix, interpolate, invert, measure, export."""
