"""The artifact that travels from trainer to host: a flat set of files named by one digest."""
