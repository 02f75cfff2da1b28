"""The command line: one module a command, each a thin layer over the library.

Results go to standard output, as a table or with `--json` as one JSON document; progress and
errors go to standard error. Exit codes: 0 yes, 1 no (an alert, a gate not passed), 2 could not run.
"""
