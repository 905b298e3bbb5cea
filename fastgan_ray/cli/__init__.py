"""The command line: a module for each command; handlers load, build, call and print."""
