"""Train offline: from a table and a declaration to a proven bundle."""
