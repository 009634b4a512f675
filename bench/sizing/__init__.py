"""Finding the right pool size: what script/bench does."""
