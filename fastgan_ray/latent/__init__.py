"""Tools for trained generators: sample, mix, interpolate, invert, measure and export."""
