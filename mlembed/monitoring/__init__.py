"""Judge a model from its log: drift, realised performance, and what to do about them."""
