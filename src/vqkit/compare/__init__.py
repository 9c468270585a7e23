"""Compare quantizers on one backbone, one data set and one budget, at known rates."""
