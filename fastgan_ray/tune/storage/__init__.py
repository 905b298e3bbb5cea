"""A run's files: its folder, snapshots, remote copies, disk space."""
