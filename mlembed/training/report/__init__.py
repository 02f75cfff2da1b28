"""The report of a trained model: one page that shows how good it is and how that is known."""
