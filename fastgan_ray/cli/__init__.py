"""The command line: a module for each command, and one for the commands of a generator."""
