"""Record predictions and outcomes without making the host wait.

The caller's thread appends one tuple to a bounded queue; one background thread a process writes
the local store and speaks to the host's OpenTelemetry, where there is one.
"""
