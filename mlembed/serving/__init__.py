"""Answer predictions inside the host's process.

A host's record becomes one row of doubles (`encoder`), one graph turns it into a score (`session`),
the manifest turns the score into a decision (`decision`), and a live handle (`model`, `handle`)
replaces all three while the host runs.
"""
