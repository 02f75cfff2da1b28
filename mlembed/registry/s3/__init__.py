"""A bucket as a registry of models."""
