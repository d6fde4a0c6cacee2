"""Forward physics: a medium and a source in, populations out."""
