"""From counts to parameters: the model of an image, its likelihood, the optimum and its uncertainty."""
