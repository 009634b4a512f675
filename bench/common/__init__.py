"""What finding a size and comparing both use: servers, the generator, rounds, tables, plots."""
