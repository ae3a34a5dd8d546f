"""From a predictor to scores and predictions."""
