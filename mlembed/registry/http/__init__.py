"""HTTP with a registry: bounded in time and size, and silent about credentials."""
