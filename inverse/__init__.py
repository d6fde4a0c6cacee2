"""From measured images to a diffusion length: data, likelihoods, fits, uncertainty and reports."""
