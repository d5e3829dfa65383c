"""The specification's files, one module a family: typed values, read and written, nothing else."""
