"""A simulation of many workers, for what no machine at hand can run."""
