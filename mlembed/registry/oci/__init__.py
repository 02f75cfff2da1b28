"""A container registry as a registry of models."""
