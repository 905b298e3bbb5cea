"""The files of a run: its folder, snapshots of Ray's state, remote copies, disk space."""
