"""Learning from review: what people did with the masks, and the models trained on it."""
