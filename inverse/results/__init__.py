"""What a person sees: results as numbers, files, figures and a page."""
